// Requests that change or fetch one thing.

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Complaint {
  message?: string;
  error?: { message?: string };
}

const AGAIN_MS = [200, 1000];

// Browsers drop requests when a network interface comes or goes, as pods make happen on the
// server's own machine; a question can be asked again, a change cannot.
async function send(path: string, init: RequestInit): Promise<Response> {
  for (const wait of init.method === 'GET' ? AGAIN_MS : []) {
    try {
      return await fetch(path, init);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  return fetch(path, init).catch(() => {
    throw new Error('The server does not answer.');
  });
}

export async function request<T>(method: string, path: string, body?: unknown, type = 'application/json'): Promise<T> {
  const response = await send(path, {
    method,
    headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': type }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const value: unknown = text && response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text;
  if (!response.ok) {
    const said = value as Complaint | undefined;
    throw new Refused(response.status, said?.message ?? said?.error?.message ?? String(text || response.statusText).trim());
  }
  return value as T;
}

export const spine = (project: string, plural: string) => `/k8s/apis/towpath.dev/v1alpha1/namespaces/${project}/${plural}`;

export const merge = <T>(path: string, patch: unknown) => request<T>('PATCH', path, patch, 'application/merge-patch+json');
