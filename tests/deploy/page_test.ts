/** The status page as a person sees it: in a browser without JavaScript, light and dark, on a desk and on a phone. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import axe from "axe-core";
import { renderPage } from "../../src/machine/site/status_page.ts";
import { hideNames } from "../../src/machine/site/status_view.ts";
import { type Look, openBrowser, type Page } from "../browser.ts";
import { createStatusSite } from "../../src/machine/site/status_site.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, serve } from "../registry.ts";
import { configOf, serviceOf, TOKEN } from "./site.ts";
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

/** What axe says against a page, for whoever cannot see it or has no mouse. */
async function findingsOf(page: Page): Promise<unknown> {
  const check = `(async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, nodes }) => \`\${id}: \${nodes.map(({ html }) => html).slice(0, 3).join(" ")}\`);
  })()`;
  await page.evaluate(axe.source);
  return await page.evaluate(check);
}

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
        if (path === "/many" && name === "desk") {
          // Three hundred rules on two screens: fault 89.
          assert(Number(await page.evaluate("document.documentElement.scrollHeight")) <= 2 * DESK.height);
        }
        const picture = await page.picture(`${path.slice(1)}-${scheme}-${name}`);
        assert(picture.length > 10_000, `${picture.length} bytes`);
      }
      const isDark = scheme === "dark";
      const back = String(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
      assertStringIncludes(back, isDark ? "rgb(18, 22, 28)" : "rgb(246, 247, 249)");
      if ((scheme === "dark") !== (name === "phone")) continue;
      // With scripts, because axe is one; the page's own is not there.
      const inspected = await browser.openPage(look);
      for (const path of Object.keys(pages)) {
        await inspected.go(`${server.url}${path}`);
        assertEquals(await findingsOf(inspected), [], `${path} ${scheme} ${name}`);
      }
    }
  }
});

Deno.test("fault 89: the page follows a run in place, and leaves alone what its reader has unfolded", async () => {
  await using browser = await openBrowser();
  if (browser === undefined) return;
  const gate = Promise.withResolvers<void>();
  const registry = createRegistry({
    intercept: async (request, { kind }) => {
      if (kind === "manifest" && request.method === "PUT" && request.url.endsWith("/v1")) await gate.promise;
      return undefined;
    },
  });
  for (const seed of [0, 1]) pushImage(registry, "team/app", `v${seed}`, buildImage({ seed }));
  const service = serviceOf(registry, configOf({ "one.test/team/app": "two.test/mirror/app" }));
  const site = createStatusSite({ service, token: TOKEN });
  await using server = serve(site);
  const page = await browser.openPage({ ...DESK, scheme: "light" });
  await page.go(`${server.url}/sign-in`);
  await page.evaluate(`document.querySelector("input").value = ${JSON.stringify(TOKEN)}`);
  await page.load(() => page.evaluate('document.querySelector("button").click()'));
  await page.load(() => page.evaluate('document.querySelector("header button").click()'));
  const titled = (start: string) =>
    page.evaluate(`new Promise((resolve) => {
      const look = () => document.title.startsWith(${JSON.stringify(start)}) && resolve(true);
      new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
      look();
    })`);
  assertStringIncludes(String(await page.evaluate("document.title")), "Running");
  await page.evaluate('window.mark = 1; document.querySelector("article details").open = false');
  gate.resolve();
  await titled("Healthy");
  assertEquals(await page.evaluate("window.mark"), 1);
  const text = String(await page.evaluate("document.body.innerText"));
  assertStringIncludes(text, "2 copied");
  assertEquals(await page.evaluate('document.querySelector("article details").open'), false);
  assertEquals(await page.evaluate('document.querySelector("#progress")'), null);
  await service.stop();
  await page.send("Page.close");
});
