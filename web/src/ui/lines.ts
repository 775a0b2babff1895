// Lines of a log in memory: appended chunk by chunk, bounded, numbered as on the server.

// Keeps a tab below about 50 MB; older lines are on the server ("Whole log").
export const KEPT = 250_000;
// Dropped at once when the bound is reached, so that dropping stays rare.
const DROPPED = 25_000;

export type Weight = '' | 'error' | 'warning' | 'group';

// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007]*(\u0007|\u001b\\)|\r(?!\n)/g;

export class Lines {
  /** Number of the first kept line, from 1. */
  first: number;
  all: string[] = [];
  private rest = '';

  constructor(first = 1) {
    this.first = first;
  }

  get next(): number {
    return this.first + this.all.length;
  }

  push(chunk: string) {
    const parts = (this.rest + chunk).split('\n');
    this.rest = parts.pop() ?? '';
    for (const part of parts) this.all.push(clean(part));
    while (this.all.length > KEPT) {
      this.all = this.all.slice(DROPPED);
      this.first += DROPPED;
    }
  }

  /** The connection broke: half a line comes again whole. */
  cut() {
    this.rest = '';
  }

  /** The log is over; what has no line end is a line too. */
  end() {
    if (this.rest) this.all.push(clean(this.rest));
    this.rest = '';
  }

  /** Numbers of the kept lines that contain the text. */
  matching(text: string): number[] {
    const wanted = text.toLowerCase();
    const found: number[] = [];
    for (let i = 0; i < this.all.length; i++) if (this.all[i]?.toLowerCase().includes(wanted)) found.push(this.first + i);
    return found;
  }
}

const clean = (line: string) => (line.includes('\u001b') || line.includes('\r') ? line.replace(ESCAPES, '') : line);

/** A line as people read it: the runner's marks become words. */
export function readable(line: string): string {
  if (!line.startsWith('##[')) return line;
  return line.replace(/^##\[(error|warning|notice)\]/, (_, kind: string) => `${kind.charAt(0).toUpperCase()}${kind.slice(1)}: `).replace(/^##\[(group|command|section|endgroup)\]/, '');
}

/** How a line is shown: the marks of the runner, then words of compilers and test programs. */
export function weight(line: string): Weight {
  if (/^##\[error\]|^\s*(error|fatal|panic|FAILED)\b|\bpanicked at\b|^\s*Traceback/.test(line)) return 'error';
  if (/^##\[warning\]|^\s*(warning|warn)\b/i.test(line)) return 'warning';
  if (/^##\[(group|command|section)\]/.test(line)) return 'group';
  return '';
}
