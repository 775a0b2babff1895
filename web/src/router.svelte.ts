// The URL is the state: navigation only by links, back and forward work, everything can be shared.

export const route = $state({ path: location.pathname, query: new URLSearchParams(location.search) });

function read() {
  route.path = location.pathname;
  route.query = new URLSearchParams(location.search);
}

export function go(url: string, replace = false) {
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
  read();
}

/** Sets query parameters of the present URL; an empty value removes one. */
export function setQuery(values: Record<string, string>) {
  const query = new URLSearchParams(route.query);
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(route.path + (text ? `?${text}` : ''), true);
}

/** Matches `/p/:p/c/:sha`; undefined where the path is another. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const want = pattern.split('/');
  const have = path.split('/');
  if (want.length !== have.length) return undefined;
  const found: Record<string, string> = {};
  for (const [index, part] of want.entries()) {
    const value = have[index] ?? '';
    if (part.startsWith(':') && value) found[part.slice(1)] = decodeURIComponent(value);
    else if (part !== value) return undefined;
  }
  return found;
}

export function install() {
  addEventListener('popstate', read);
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a[href]');
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download')) return;
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname.startsWith('/api/') || url.pathname.startsWith('/k8s/')) return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}
