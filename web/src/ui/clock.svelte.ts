// One timer for every relative time on the page.
export const clock = $state({ now: Date.now() });
setInterval(() => (clock.now = Date.now()), 1000);
