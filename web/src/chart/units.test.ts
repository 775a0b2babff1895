import { expect, test } from 'vitest';
import { format, knows, unitOf } from './units';

test.each([
  [0, 'short', '0'], [1234, 'short', '1.23 k'], [999_999, 'short', '1 M'], [0.00321, 'short', '0.00321'], [-12_345_678, 'short', '-12.3 M'],
  [1536, 'bytes', '1.5 KiB'], [1024 ** 3, 'bytes', '1 GiB'], [1e9, 'decbytes', '1 GB'], [2048, 'kbytes', '2 MiB'], [1e6, 'bps', '1 Mb/s'], [2048, 'binBps', '2 KiB/s'],
  [0.25, 'percentunit', '25 %'], [99.95, 'percent', '100 %'], [12.34, 'percent', '12.3 %'],
  [0.0025, 's', '2.5 ms'], [90, 's', '1.5 min'], [7200, 's', '2 h'], [0.5, 'ms', '500 µs'], [3, 'd', '3 d'], [0, 's', '0 s'],
  [93_784, 'dtdurations', '1 d 2 h 3 m'], [1200, 'reqps', '1.2 kreq/s'], [0.5, 'cps', '0.5/s'], [21.5, 'celsius', '21.5°C'], [7, 'suffix:apples', '7 apples'], [3, 'widgets', '3 widgets'],
  [Number.NaN, 'short', 'NaN'], [Infinity, 'bytes', '+Inf'], [0.0005, 'si', '500 µ'], [1, 'bool_yes_no', 'Yes'], [1e-9, 'short', '1.00e-9'],
])('%d in %s is %s', (value, unit, text) => expect(format(value, unit)).toBe(text));

test('decimals are kept when asked for, an axis shares its prefix', () => {
  expect(format(1, 'short', 2)).toBe('1.00');
  expect(format(512, 'bytes', undefined, 1024 ** 2)).toBe('0.000488 MiB');
  expect(format(500, 'short', undefined, 2000)).toBe('0.5 k');
});

test('no number is too odd for any unit', () => {
  for (const unit of ['short', 'bytes', 's', 'percentunit', 'reqps', 'dtdurations', 'si', 'none', 'x'])
    for (const value of [0, -0, 1e-300, 1e300, -1e300, 5e-324, Number.MAX_VALUE, NaN, -Infinity]) expect(format(value, unit)).toMatch(/\S/);
  expect(knows('bytes')).toBe(true);
  expect(knows('furlongs')).toBe(false);
});

test.each([
  ['container_memory_working_set_bytes{pod="a"}', 'bytes'], ['rate(container_network_receive_bytes_total[5m])', 'binBps'], ['process_resident_memory_bytes', 'bytes'],
  ['histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))', 's'], ['rate(container_cpu_usage_seconds_total[5m])', 'short'],
  ['up', 'short'], ['count(process_resident_memory_bytes)', 'short'], ['scrape_duration_seconds', 's'], ['node_filesystem_avail_ratio', 'percentunit'],
])('%s is measured in %s', (expression, unit) => expect(unitOf(expression)).toBe(unit));
