import { expect, test, vi } from 'vitest';
import { Loki, millis, nanos, tail } from './loki';

test('nanoseconds stay exact', () => {
  expect(nanos(1769868309000)).toBe('1769868309000000000');
  expect(millis('1769868309000500000')).toBeCloseTo(1769868309000.5);
});

test('ranges are asked for by GET, however long', async () => {
  const asked: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    asked.push({ url, init });
    return Promise.resolve(new Response(JSON.stringify({ status: 'success', data: { resultType: 'streams', result: [] } })));
  });
  await new Loki().range(`{a="${'b'.repeat(3000)}"}`, '1', '2', 10, 'forward', 15);
  expect(asked[0]?.init.method).toBe('GET');
  expect(asked[0]?.url).toMatch(/^\/loki\/api\/v1\/query_range\?query=.*&start=1&end=2&limit=10&direction=forward&step=15s$/);
  vi.unstubAllGlobals();
});

test('a tail that broke goes on after its last line', () => {
  vi.useFakeTimers();
  const made: { url: string; onopen?: () => void; onmessage?: (e: { data: string }) => void; onclose?: () => void; close: () => void }[] = [];
  const lines: string[] = [];
  const states: string[] = [];
  const stop = tail((start) => `ws://x?start=${start}`, '100', (streams) => lines.push(...streams.flatMap((s) => s.values.map(([, l]) => l))), (s) => states.push(s), (url) => {
    made.push({ url, close: () => undefined });
    return made.at(-1) as unknown as WebSocket;
  });
  made[0]?.onopen?.();
  made[0]?.onmessage?.({ data: JSON.stringify({ streams: [{ stream: {}, values: [['150', 'a'], ['149', 'b']] }] }) });
  made[0]?.onclose?.();
  vi.advanceTimersByTime(600);
  expect(made[1]?.url).toBe('ws://x?start=151');
  expect(lines).toEqual(['a', 'b']);
  expect(states).toEqual(['live', 'lost']);
  stop();
  made[1]?.onclose?.();
  vi.advanceTimersByTime(60_000);
  expect(made.length).toBe(2);
  vi.useRealTimers();
});
