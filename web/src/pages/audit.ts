// Words for events of the audit log (`audit.k8s.io/v1`).

export interface AuditEvent {
  auditID: string;
  stage: string;
  level: string;
  verb: string;
  requestURI: string;
  requestReceivedTimestamp: string;
  user: { username: string; groups?: string[] };
  impersonatedUser?: { username: string };
  sourceIPs?: string[];
  userAgent?: string;
  objectRef?: { resource?: string; namespace?: string; name?: string; apiGroup?: string; apiVersion?: string; subresource?: string };
  responseStatus?: { code?: number; reason?: string; message?: string };
}

export const FILTERS = [
  { key: 'user', name: 'Who', hint: 'anyone' },
  { key: 'verb', name: 'Did', hint: 'create, delete, …' },
  { key: 'resource', name: 'Kind', hint: 'secrets, pods, …' },
  { key: 'namespace', name: 'Namespace', hint: 'all' },
  { key: 'name', name: 'Name', hint: 'all' },
  { key: 'code', name: 'Code', hint: '403, …' },
] as const;

/** The path that asks for what the URL's filters say. */
export function question(query: URLSearchParams, limit: number): string {
  const wanted = new URLSearchParams({ limit: String(limit) });
  for (const { key } of FILTERS) {
    const value = query.get(key);
    if (value) wanted.set(key, value);
  }
  if (query.get('components') !== 'show') wanted.set('components', 'false');
  return `/api/v1/audit?${wanted}`;
}

/** What was done: the verb, and to which part of the object. */
export function did(event: AuditEvent): string {
  const part = event.objectRef?.subresource;
  return part ? `${event.verb} ${part}` : event.verb;
}

/** The object as people name it: `pods demo/web`, or the path where there is none. */
export function subject(event: AuditEvent): string {
  const { resource, namespace, name } = event.objectRef ?? {};
  if (!resource) return event.requestURI.split('?')[0] ?? '';
  return [resource, [namespace, name].filter(Boolean).join('/')].filter(Boolean).join(' ');
}

/** Where the object is shown; undefined where there is none or it has no name. */
export function link(event: AuditEvent): string | undefined {
  const { resource, namespace, name, apiGroup, apiVersion } = event.objectRef ?? {};
  if (!resource || !name || !apiVersion) return undefined;
  const base = apiGroup ? `/apis/${apiGroup}/${apiVersion}` : `/api/${apiVersion}`;
  const path = `${base}${namespace && resource !== 'namespaces' ? `/namespaces/${namespace}` : ''}/${resource}/${name}`;
  return `/r/one?path=${encodeURIComponent(path)}`;
}

/** How it went, as a status word with the code and the reason. */
export function outcome(event: AuditEvent): { word: string; detail: string } {
  const { code, reason } = event.responseStatus ?? {};
  if (code === undefined) return { word: 'Running', detail: '' };
  const detail = [code, reason].filter(Boolean).join(' ');
  if (code < 400) return { word: 'Succeeded', detail };
  return { word: code === 401 || code === 403 ? 'Refused' : 'Failed', detail };
}
