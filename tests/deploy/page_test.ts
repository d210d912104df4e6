/** The status page as a person sees it: in a browser without JavaScript, light and dark, on a desk and on a phone. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { renderPage } from "../../src/machine/site/status_page.ts";
import { hideNames } from "../../src/machine/site/status_view.ts";
import { type Look, openBrowser } from "../browser.ts";
import { serve } from "../registry.ts";
import { manyRules, PROGRESS, sampleView } from "../status_samples.ts";

const DESK = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** Colours of text and background as red, green and blue, and how far apart they are (WCAG 2.2, contrast ratio). */
const CONTRASTS = `(() => {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[0-9.]+/g).map((one) => one / 255)
      .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backOf = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? backOf(element.parentElement) : color;
  };
  return [...document.querySelectorAll("h1, h2, span, dt, dd, small, li, code, button, summary, footer, p")]
    .map((element) => {
      const [one, two] = [luminance(getComputedStyle(element).color), luminance(backOf(element))];
      return { text: element.textContent.slice(0, 40), ratio: (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05) };
    }).filter(({ ratio }) => ratio < 4.5);
})()`;

Deno.test("the status page fits and can be read in light and dark, on a desk and on a phone", async () => {
  await using browser = await openBrowser();
  if (browser === undefined) return;
  const options = { isOperator: true, hasToken: true };
  const pages: Record<string, string> = {
    "/full": await renderPage(sampleView(), options),
    "/live": await renderPage(
      sampleView({ progress: PROGRESS }),
      options,
    ),
    "/many": await renderPage(sampleView(manyRules(300)), options),
    "/planning": await renderPage(
      sampleView({
        progress: { ...PROGRESS, isPlanned: false, totals: { ...PROGRESS.totals, copied: 0, failed: 0 } },
      }),
      options,
    ),
    "/problem": await renderPage(
      sampleView({
        config: undefined,
        problem: 'Cannot read config at "images" (line 3): expected an object',
      }),
      options,
    ),
    "/open": await renderPage(hideNames(sampleView()), { isOperator: false, hasToken: true }),
  };
  await using server = serve((request) => {
    const page = pages[new URL(request.url).pathname] ?? "";
    return Promise.resolve(new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } }));
  });
  for (const scheme of ["light", "dark"] as const) {
    for (const [name, size] of Object.entries({ desk: DESK, phone: PHONE })) {
      const look: Look = { ...size, scheme };
      const page = await browser.openPage(look);
      await page.send("Emulation.setScriptExecutionDisabled", { value: true });
      for (const path of Object.keys(pages)) {
        await page.go(`${server.url}${path}`);
        assertEquals(await page.evaluate("document.documentElement.scrollWidth"), size.width);
        assertEquals(await page.evaluate(CONTRASTS), []);
        const picture = await page.picture(`${path.slice(1)}-${scheme}-${name}`);
        assert(picture.length > 10_000, `${picture.length} bytes`);
      }
      const isDark = scheme === "dark";
      const back = String(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
      assertStringIncludes(back, isDark ? "rgb(18, 22, 28)" : "rgb(246, 247, 249)");
    }
  }
});
