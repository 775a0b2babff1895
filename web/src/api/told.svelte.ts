// An answer that is asked for again whenever the server tells that it changed.

import { Refused } from './http';
import { socket } from './socket';

// Changes that come together are asked for once.
const TOGETHER_MS = 300;

export interface Told<T> {
  readonly value: T | undefined;
  readonly error: string;
  readonly status: number;
  retry(): void;
}

/**
 * For the life of the component that calls it; `ask` names what it depends on. `changes` is a path
 * that tells of changes line by line; `matters` says which of them count.
 */
export function told<T>(ask: () => (() => Promise<T>) | undefined, changes: string, matters: (event: unknown) => boolean = () => true): Told<T> {
  let value = $state.raw<T | undefined>();
  let error = $state('');
  let status = $state(0);
  let attempt = $state(0);
  $effect(() => {
    void attempt;
    const question = ask();
    if (!question) return undefined;
    let mine = true;
    let busy = false;
    let again = false;
    const once = async () => {
      // What changed while an answer was on its way may not be in it.
      again = busy;
      if (busy) return;
      busy = true;
      try {
        const answer = await question();
        if (mine) {
          value = answer;
          error = '';
          status = 0;
        }
      } catch (cause) {
        if (mine) {
          error = cause instanceof Error ? cause.message : String(cause);
          status = cause instanceof Refused ? cause.status : 0;
        }
      }
      busy = false;
      if (again && mine) void once();
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        void once();
      }, TOGETHER_MS);
    };
    const stop = socket.open('watch', changes, (message) => message.event && matters(message.event) && soon(), () => {
      // Nobody told what changed while the connection was lost.
      soon();
      return changes;
    });
    void once();
    return () => {
      mine = false;
      clearTimeout(timer);
      stop();
    };
  });
  return {
    get value() { return value; },
    get error() { return error; },
    get status() { return status; },
    retry() { attempt += 1; },
  };
}
