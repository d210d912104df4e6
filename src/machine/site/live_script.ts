/** The page's only script: it puts fresh sections in place of old ones when the site says that something has changed. */

/** The script. What a reader has unfolded or is typing stays; where it does not run, the page asks for itself again. */
export const LIVE_SCRIPT = `
async function refresh() {
  const response = await fetch(location.href, { credentials: "same-origin" });
  if (!response.ok) return;
  const next = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const details of next.querySelectorAll("details")) {
    details.open = document.getElementById(details.id)?.open ?? details.open;
  }
  const main = document.querySelector("main");
  const fresh = [...next.querySelectorAll("main > *")];
  const wanted = new Set(fresh.map(({ id }) => id));
  for (const old of [...main.children]) if (!wanted.has(old.id)) old.remove();
  fresh.forEach((section, index) => {
    const old = document.getElementById(section.id);
    if (old === null) main.insertBefore(document.adoptNode(section), main.children[index] ?? null);
    else if (!old.contains(document.activeElement) && !old.isEqualNode(section)) {
      old.replaceWith(document.adoptNode(section));
    }
  });
  document.title = next.title;
}
let isBusy = false;
new EventSource("/events").addEventListener("message", async () => {
  if (isBusy) return;
  isBusy = true;
  await refresh().catch(() => {});
  isBusy = false;
});
`;
