import { afterEach, expect, test, vi } from 'vitest';
import { pathName, place, Prometheus, SignalError, spoken } from './prometheus';

afterEach(() => vi.unstubAllGlobals());

function answers(status: number, body: unknown) {
  const asked: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    asked.push({ url, init });
    if (init.signal?.aborted) return Promise.reject(new DOMException('', 'AbortError'));
    return Promise.resolve(new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }));
  });
  return asked;
}

test('an answer brings its warnings and infos', async () => {
  const asked = answers(200, { status: 'success', data: { resultType: 'vector', result: [] }, infos: ['might not be a counter (1:6)'] });
  const answer = await new Prometheus().query('rate(up[5m])', 10);
  expect(asked[0]?.url).toBe('/prometheus/api/v1/query?query=rate%28up%5B5m%5D%29&time=10');
  expect(answer.infos).toEqual(['might not be a counter (1:6)']);
  expect(answer.warnings).toEqual([]);
});

test('a long question is a form', async () => {
  const asked = answers(200, { status: 'success', data: [] });
  await new Prometheus().series(['x'.repeat(3000)]);
  expect(asked[0]?.init.method).toBe('POST');
  expect(String(asked[0]?.init.body)).toContain('match%5B%5D=xxx');
});

test('errors name their place, absence is known from failure', async () => {
  answers(400, { status: 'error', errorType: 'bad_data', error: 'invalid parameter "query": 1:8: parse error: unexpected ")"' });
  const error = await new Prometheus().query('sum(up))').catch((e: unknown) => e as SignalError);
  expect(error).toMatchObject({ status: 400, kind: 'bad_data', at: { from: 7, to: 8 } });
  expect(spoken((error as SignalError).message)).toBe('unexpected ")"');
  answers(404, 'no such file');
  expect(await new Prometheus().labels().catch((e: unknown) => (e as SignalError).absent)).toBe(true);
  // The page that a navigation gets is no answer either.
  answers(200, '<!doctype html>');
  expect(await new Prometheus().labels().catch((e: unknown) => (e as SignalError).absent)).toBe(true);
});

test('a question that is taken back does not become an error of the server', async () => {
  answers(200, {});
  const control = new AbortController();
  control.abort();
  const error = await new Prometheus().query('up', 1, control.signal).catch((e: unknown) => e);
  expect(error).not.toBeInstanceOf(SignalError);
});

test('places count lines, and bytes within a line', () => {
  expect(place('2:3: parse error: x', 'up\n+ foo')).toEqual({ from: 5, to: 8 });
  expect(place('1:5: parse error: x', '"é" x')).toEqual({ from: 3, to: 4 });
  expect(place('1:9: parse error: unexpected end of input', 'sum(up')).toEqual({ from: 5, to: 6 });
  expect(place('took 10s', 'up')).toBeUndefined();
});

test('label names in paths', () => {
  expect(pathName('job')).toBe('job');
  expect(pathName('service.name')).toBe('U__service_2e_name');
  expect(pathName('a_b.c')).toBe('U__a__b_2e_c');
});
