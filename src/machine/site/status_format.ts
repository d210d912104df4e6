/** How times, spans and counts are written on the status page. */

import { html } from "hono/html";

/** How long ago a time was, or how long it is until then: `5 min ago`, `in 2 h`. */
export function formatDistance(time: number, now: number): string {
  const seconds = Math.round(Math.abs(time - now) / 1000);
  if (seconds < 5) return "now";
  const span = formatSpan(seconds);
  return time < now ? `${span} ago` : `in ${span}`;
}

/** A number of seconds in the largest unit that fits: `45 s`, `5 min`, `3 h`, `12 days`. */
export function formatSpan(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 60 * 60) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** A time without its fractions of a second, as it stands in titles: `2026-08-03 10:15:00 UTC`. */
export function formatTime(time: string): string {
  return `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** A number with its noun: `1 image`, `1,200 images`. */
export function formatCount(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? noun : `${noun}s`}`;
}

/** A time as a distance, with the time itself for machines and for whoever points at it. */
export function timeOf(time: string, now: number): ReturnType<typeof html> {
  return html`<time datetime="${time}" title="${formatTime(time)}">${
    formatDistance(Date.parse(time), now)
  }</time>`;
}
