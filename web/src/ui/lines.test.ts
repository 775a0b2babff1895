import { expect, test } from 'vitest';
import { KEPT, Lines, readable, weight } from './lines';

test('chunks need not end at a line', () => {
  const log = new Lines();
  log.push('one\ntw');
  log.push('o\nthree');
  expect(log.all).toEqual(['one', 'two']);
  log.end();
  expect(log.all).toEqual(['one', 'two', 'three']);
});

test('after a cut the log goes on at the first line that is not whole', () => {
  const log = new Lines();
  log.push('one\ntw');
  log.cut();
  expect(log.next).toBe(2);
  log.push('two\n');
  expect(log.all).toEqual(['one', 'two']);
});

test('memory is bounded and numbers stay', () => {
  const log = new Lines();
  for (let i = 1; i <= KEPT + 10; i += 1000) log.push(Array.from({ length: 1000 }, (_, n) => `line ${i + n}\n`).join(''));
  expect(log.all.length).toBeLessThanOrEqual(KEPT);
  expect(log.all[0]).toBe(`line ${log.first}`);
});

test('colours of terminals are left out, errors are seen', () => {
  const log = new Lines();
  log.push('\u001b[1;31merror\u001b[0m: no\n');
  expect(log.all).toEqual(['error: no']);
  expect(log.matching('ERROR')).toEqual([1]);
  expect(weight('error: no')).toBe('error');
  expect(weight('##[warning]old')).toBe('warning');
  expect(weight('terrors')).toBe('');
  expect(readable('##[error]no space left')).toBe('Error: no space left');
  expect(readable('##[group]Run make')).toBe('Run make');
  expect(readable('##[endgroup]')).toBe('');
});
