/** How the status page looks: light or dark as the reader's system is, and down to the width of a phone. */

/** The style sheet. Colours are chosen to be read by 4.5 to 1 on both backgrounds. */
export const STYLE = `
:root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --line: #d9dee5; --text: #1b2430; --soft: #566271;
  --good: #14713d; --bad: #b3261e; --wait: #8a5a00; --live: #1a5fb4; --faint: #9fd3b4; }
@media (prefers-color-scheme: dark) { :root { --back: #12161c; --card: #1a2028; --line: #303945; --text: #e8ecf1;
  --soft: #a0acba; --good: #5fd08d; --bad: #ff8a80; --wait: #f0b64a; --live: #7db4ff; --faint: #2f6b49; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.25rem 1rem 2rem; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .9rem; margin-bottom: .9rem; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: .95rem; margin: .9rem 0 .25rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: .9rem 1rem;
  margin-bottom: .9rem; }
.state { font-weight: 600; padding: .05rem .7rem; border: 1.5px solid currentColor; border-radius: 1rem; }
.done, .ok { color: var(--good); fill: var(--good); } .failed, .failing, .error, .killed { color: var(--bad);
  fill: var(--bad); } .stopped, .pending, .empty { color: var(--wait); fill: var(--wait); }
.running { color: var(--live); fill: var(--live); } .unknown, .soft { color: var(--soft); fill: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem 1rem; margin: 0; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.1rem; font-weight: 600; }
dd small { display: block; font-size: .85rem; font-weight: 400; color: var(--soft); } dd small.failed { color: var(--bad); }
progress { width: 100%; height: .8rem; accent-color: var(--live); }
p { margin: .4rem 0 0; } .reason { overflow-wrap: anywhere; }
code { font: .93em/1.4 ui-monospace, "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
ul { margin: .3rem 0 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; color: var(--soft); font-size: .9rem; margin-top: .25rem; }
.facts .failed { color: var(--bad); } #progress .facts { color: var(--text); font-size: 1rem; }
summary { cursor: pointer; } .group > summary { font-size: .95rem; font-weight: 600; padding: .5rem 0 0; }
#runs details > summary { color: var(--soft); font-size: .9rem; margin-top: .4rem; }
article { border-top: 1px solid var(--line); padding: .3rem 0; }
article summary { display: grid; grid-template-columns: 1fr auto 12.5rem; gap: .2rem 1rem; align-items: center; }
article summary::before { content: none; } article summary::-webkit-details-marker { display: none; }
article ul, article .facts, article .soft { margin-left: .6rem; } article > ul { font-size: .92rem; list-style: none; padding: 0; }
.when { color: var(--soft); font-size: .9rem; text-align: right; white-space: nowrap; } th code { white-space: nowrap; }
.beats { display: inline-flex; min-height: 1rem; --w: 7px; }
.beats i { width: calc(var(--n) * var(--w)); height: 1rem; --beat: var(--faint);
  background: repeating-linear-gradient(90deg, var(--beat) 0 calc(var(--w) - 2px), transparent 0 var(--w)); }
.beats .beat-c { --beat: var(--good); } .beats .beat-f { --beat: var(--bad); } .beats .beat-p, .beats .beat-e { --beat: var(--wait); }
.title { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; } .title h2 { margin: 0; }
.title form { margin-left: auto; align-items: center; }
.chart { margin: 0; display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; color: var(--soft); font-size: .8rem; }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; line-height: 1; }
.chart svg { display: block; width: 100%; height: 5.5rem; } .chart line { stroke: var(--line); vector-effect: non-scaling-stroke; }
.times { grid-column: 2; position: relative; height: 1.3rem; } .times time { position: absolute; white-space: nowrap; }
.times .middle { transform: translateX(-50%); } .times .end { transform: translateX(-100%); }
figcaption { grid-column: 2; display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: right; padding: .3rem .6rem; border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th { border-top: 0; color: var(--soft); font-weight: 400; } th:first-child { text-align: left; padding-left: 0; font-weight: 400; }
form { display: flex; flex-wrap: wrap; gap: .5rem; } header form { margin-left: auto; }
input, button { font: inherit; padding: .35rem .8rem; border-radius: .5rem; border: 1px solid var(--line);
  background: var(--back); color: var(--text); min-width: 0; } input { flex: 1 1 12rem; max-width: 24rem; }
button { background: var(--live); border-color: var(--live); color: var(--card); font-weight: 600; cursor: pointer; }
button.small { font-size: .85rem; padding: .15rem .6rem; margin: .3rem 0 0 .6rem; } button.quiet { background: var(--card); color: var(--live); }
:focus-visible { outline: 3px solid var(--live); outline-offset: 2px; }
footer { color: var(--soft); font-size: .85rem; } a { color: var(--live); }
@media (max-width: 640px) { article summary { display: flex; flex-wrap: wrap; justify-content: space-between; }
  article summary code { width: 100%; }
  .beats { --w: 6px; } .title form { margin-left: 0; width: 100%; } .times .middle { display: none; } }
`;
