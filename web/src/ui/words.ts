// Numbers and times in words.

export const short = (sha: string) => sha.slice(0, 7);

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} m`;
}

export function ago(instant: string | undefined, now: number): string {
  if (!instant) return '';
  const seconds = Math.max(0, Math.round((now - Date.parse(instant)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

export type Tone = 'ok' | 'failed' | 'warning' | 'running' | 'paused' | 'idle' | 'back';

const TONES: Record<string, Tone> = {
  Healthy: 'ok', Succeeded: 'ok', Passed: 'ok', Synced: 'ok', Ready: 'ok', Bound: 'ok', Active: 'ok', Completed: 'ok', Available: 'ok',
  Failed: 'failed', Degraded: 'failed', Refused: 'failed', Error: 'failed', CrashLoopBackOff: 'failed', ImagePullBackOff: 'failed', ErrImagePull: 'failed', OOMKilled: 'failed',
  Warning: 'warning', OutOfSync: 'warning', Drifted: 'warning', Missing: 'warning', Held: 'warning',
  Running: 'running', Progressing: 'running', Deploying: 'running', ContainerCreating: 'running',
  Paused: 'paused', Waiting: 'paused', WaitingForApproval: 'paused', Suspended: 'paused',
  RolledBack: 'back',
};

export const tone = (word: string): Tone => TONES[word] ?? 'idle';

/** `WaitingForApproval` as `Waiting for approval`. */
export function words(word: string): string {
  const spaced = word.replace(/([a-z])([A-Z])/g, '$1 $2');
  return spaced.charAt(0) + spaced.slice(1).toLowerCase();
}
