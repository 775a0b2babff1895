// A kind as a live list: watched through the one socket, applied once per frame.

import { empty, take, type WatchEvent } from './collection';
import { socket } from './socket';
import type { KubeObject } from './types';

const WATCH = 'watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=3000';

export interface Listing<T> {
  readonly items: T[];
  readonly synced: boolean;
  readonly error: string;
  /** HTTP status of the refusal; 0 where the server gave none. */
  readonly status: number;
  retry(): void;
}

class Live<T extends KubeObject> {
  items = $state.raw<T[]>([]);
  synced = $state(false);
  error = $state('');
  status = $state(0);
  private collection = empty<T>();
  private pending = false;
  private stop: () => void;

  constructor(path: string) {
    const full = `${path}${path.includes('?') ? '&' : '?'}${WATCH}`;
    this.stop = socket.open(
      'watch',
      full,
      (message) => {
        if (message.event && take(this.collection, message.event as WatchEvent)) this.schedule();
        if (message.error) {
          this.error = message.error;
          this.status = message.status ?? 0;
        }
      },
      () => {
        this.collection.listing = new Set();
        return full;
      },
    );
  }

  private schedule() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.items = [...this.collection.items.values()];
      this.synced = this.collection.synced;
      if (this.synced && this.collection.listing === undefined) this.error = '';
    });
  }

  close() {
    this.stop();
  }
}

/** A live list for the life of the component that calls it. */
export function live<T extends KubeObject>(path: () => string): Listing<T> {
  let current = $state.raw<Live<T> | undefined>();
  let attempt = $state(0);
  $effect(() => {
    void attempt;
    const made = new Live<T>(path());
    current = made;
    return () => made.close();
  });
  return {
    get items() {
      return current?.items ?? [];
    },
    get synced() {
      return current?.synced ?? false;
    },
    get error() {
      return current?.error ?? '';
    },
    get status() {
      return current?.status ?? 0;
    },
    retry() {
      attempt += 1;
    },
  };
}
