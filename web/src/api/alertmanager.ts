// The HTTP API of Alertmanager (`/alertmanager/api/v2`): alerts that were received, silences.

import { ask, SignalError, type Labels } from './prometheus';

export interface Matcher { name: string; value: string; isRegex: boolean; isEqual?: boolean }
export interface ReceivedAlert {
  labels: Labels; annotations: Labels; startsAt: string; endsAt: string; updatedAt?: string; fingerprint: string; generatorURL?: string;
  receivers?: { name: string }[]; status: { state: 'active' | 'suppressed' | 'unprocessed'; silencedBy: string[]; inhibitedBy: string[]; mutedBy?: string[] };
}
export interface Silence { id: string; status: { state: 'active' | 'pending' | 'expired' }; comment: string; createdBy: string; startsAt: string; endsAt: string; updatedAt?: string; matchers: Matcher[] }
export interface Route { receiver?: string; matchers?: string[]; match?: Record<string, string>; match_re?: Record<string, string>; group_by?: string[]; group_wait?: string; group_interval?: string; repeat_interval?: string; continue?: boolean; mute_time_intervals?: string[]; active_time_intervals?: string[]; routes?: Route[] }
export interface ManagerStatus { config: { original: string }; uptime: string; versionInfo?: { version?: string }; cluster?: { status?: string } }
export interface NewSilence { id?: string; matchers: Matcher[]; startsAt: string; endsAt: string; createdBy: string; comment: string }

export class Alertmanager {
  constructor(readonly base = '/alertmanager') {}

  alerts(signal?: AbortSignal): Promise<ReceivedAlert[]> {
    return ask(`${this.base}/api/v2/alerts`, {}, signal, false) as Promise<ReceivedAlert[]>;
  }

  silences(signal?: AbortSignal): Promise<Silence[]> {
    return ask(`${this.base}/api/v2/silences`, {}, signal, false) as Promise<Silence[]>;
  }

  status(signal?: AbortSignal): Promise<ManagerStatus> {
    return ask(`${this.base}/api/v2/status`, {}, signal, false) as Promise<ManagerStatus>;
  }

  async receivers(signal?: AbortSignal): Promise<string[]> {
    return ((await ask(`${this.base}/api/v2/receivers`, {}, signal, false)) as { name: string }[]).map((r) => r.name);
  }

  private async send(method: string, path: string, body?: unknown): Promise<void> {
    const response = await fetch(`${this.base}/api/v2/${path}`, { method, headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }).catch(() => {
      throw new SignalError(0, 'network', 'The server does not answer.');
    });
    if (response.ok) return;
    const text = (await response.text()).trim();
    let said = text;
    // Errors are a JSON string, an object with a message, or plain.
    try {
      const value: unknown = JSON.parse(text);
      said = typeof value === 'string' ? value : ((value as { message?: string }).message ?? text);
    } catch { /* It is plain text. */ }
    throw new SignalError(response.status, 'http', said || response.statusText);
  }

  silence(silence: NewSilence): Promise<void> {
    return this.send('POST', 'silences', silence);
  }

  expire(id: string): Promise<void> {
    return this.send('DELETE', `silence/${encodeURIComponent(id)}`);
  }
}

export const alertmanager = new Alertmanager();
