// One timer for every relative time on the page, and whether absolute times are in UTC.
export const clock = $state({ now: Date.now(), utc: localStorage.getItem('utc') === '1' });
setInterval(() => (clock.now = Date.now()), 1000);

export function setUtc(utc: boolean) {
  clock.utc = utc;
  localStorage.setItem('utc', utc ? '1' : '0');
}
