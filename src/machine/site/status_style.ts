/** How the status page looks: light or dark as the reader's system is, and down to the width of a phone. */

/** The style sheet. Colours are chosen to be read by 4.5 to 1 on both backgrounds. */
export const STYLE = `
:root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --line: #d9dee5; --text: #1b2430; --soft: #5a6675;
  --good: #14713d; --bad: #b3261e; --wait: #8a5a00; --live: #1a5fb4; --bar: #e6e9ee; }
@media (prefers-color-scheme: dark) { :root { --back: #12161c; --card: #1a2028; --line: #303945; --text: #e8ecf1;
  --soft: #a0acba; --good: #5fd08d; --bad: #ff8a80; --wait: #f0b64a; --live: #7db4ff; --bar: #2a323d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; margin-bottom: 1rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem;
  margin-bottom: 1rem; }
.state { font-weight: 600; padding: .1rem .7rem; border: 1.5px solid currentColor; border-radius: 1rem; }
.done, .ok { color: var(--good); fill: var(--good); } .failed, .failing, .error, .killed { color: var(--bad);
  fill: var(--bad); } .stopped, .pending { color: var(--wait); fill: var(--wait); }
.running { color: var(--live); fill: var(--live); } .unknown, .soft { color: var(--soft); fill: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin: 0; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.15rem; font-weight: 600; }
dd small { display: block; font-size: .85rem; font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; height: 4.5rem; } progress { width: 100%; height: .8rem; accent-color: var(--live); }
p { margin: .5rem 0 0; } .reason { overflow-wrap: anywhere; }
article { border-top: 1px solid var(--line); padding: .75rem 0; } article:first-of-type { border-top: 0; padding-top: 0; }
article:last-of-type { padding-bottom: 0; }
.rule { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
code { font: .95em/1.4 ui-monospace, "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
ul { margin: .4rem 0 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; color: var(--soft); font-size: .9rem; margin-top: .25rem; }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem; } header form { margin-left: auto; }
input, button { font: inherit; padding: .4rem .8rem; border-radius: .5rem; border: 1px solid var(--line);
  background: var(--back); color: var(--text); min-width: 0; } input { flex: 1 1 12rem; max-width: 24rem; }
button { background: var(--live); border-color: var(--live); color: var(--card); font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid var(--live); outline-offset: 2px; }
footer { color: var(--soft); font-size: .85rem; } a { color: var(--live); }
`;
