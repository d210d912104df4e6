/** A clock that starts at the machine's time and never jumps, for what has to last as long as it says. */

import { type Clock, systemClock } from "../../registry/clock.ts";

/** A clock that shows the machine's time now, and from then on only moves on, whatever is done to the machine's clock. */
export function createSteadyClock(): Clock {
  const start = Date.now() - performance.now();
  return { ...systemClock, now: () => start + performance.now() };
}
