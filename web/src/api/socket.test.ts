import { expect, test, vi } from 'vitest';
import { Socket, type Message } from './socket';

class Fake {
  static all: Fake[] = [];
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  onopen?: () => void;
  onmessage?: (event: { data: string }) => void;
  onclose?: () => void;
  constructor() {
    Fake.all.push(this);
  }
  send(text: string) {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  open() {
    this.readyState = 1;
    this.onopen?.();
  }
  close() {
    this.readyState = 3;
    this.onclose?.();
  }
  say(message: Message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

test('a cut socket is made again and every stream goes on where it was', () => {
  vi.stubGlobal('WebSocket', { OPEN: 1 });
  vi.useFakeTimers();
  Fake.all = [];
  const socket = new Socket('ws://x', () => new Fake() as unknown as WebSocket);
  const seen: Message[] = [];
  socket.open('log', '/log?from=1', (m) => seen.push(m), () => `/log?from=${seen.length + 1}`);
  const first = Fake.all[0]!;
  first.open();
  expect(first.sent).toEqual([{ op: 'log', id: 1, path: '/log?from=1' }]);
  first.say({ id: 1, text: 'a\n' });
  first.close();
  expect(socket.state).toBe('lost');
  vi.advanceTimersByTime(300);
  Fake.all[1]!.open();
  expect(socket.state).toBe('live');
  expect(Fake.all[1]!.sent).toEqual([{ op: 'log', id: 1, path: '/log?from=2' }]);
});

test('an expired watch starts again at once, a failed one later, a forbidden one never', () => {
  vi.useFakeTimers();
  Fake.all = [];
  const socket = new Socket('ws://x', () => new Fake() as unknown as WebSocket);
  socket.open('watch', '/w', () => undefined);
  const made = Fake.all[0]!;
  made.open();
  made.say({ id: 1, end: true, status: 410 });
  expect(made.sent.length).toBe(2);
  made.say({ id: 1, end: true, status: 503, error: 'no' });
  expect(made.sent.length).toBe(2);
  vi.advanceTimersByTime(6000);
  expect(made.sent.length).toBe(3);
  made.say({ id: 1, end: true, status: 403, error: 'forbidden' });
  vi.advanceTimersByTime(60_000);
  expect(made.sent.length).toBe(3);
});
