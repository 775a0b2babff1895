// Applies watch events to a map of objects: pure, so that order and relists are tested.

import type { KubeObject } from './types';

export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject & { code?: number; message?: string };
}

export interface Collection<T extends KubeObject> {
  items: Map<string, T>;
  /** Keys seen since the list began; those missing at its end are gone. */
  listing: Set<string> | undefined;
  synced: boolean;
}

export function empty<T extends KubeObject>(): Collection<T> {
  return { items: new Map(), listing: new Set(), synced: false };
}

export const key = (object: KubeObject) => `${object.metadata.namespace ?? ''}/${object.metadata.name}`;

/** Takes one event; returns whether anything that shows has changed. */
export function take<T extends KubeObject>(collection: Collection<T>, event: WatchEvent): boolean {
  const { items } = collection;
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      items.set(key(event.object), event.object as unknown as T);
      collection.listing?.add(key(event.object));
      return true;
    case 'DELETED':
      return items.delete(key(event.object));
    case 'BOOKMARK': {
      if (event.object.metadata.annotations?.['k8s.io/initial-events-end'] !== 'true') return false;
      for (const name of [...items.keys()]) if (!collection.listing?.has(name)) items.delete(name);
      collection.listing = undefined;
      collection.synced = true;
      return true;
    }
    case 'ERROR':
      collection.listing = new Set();
      return false;
  }
}
