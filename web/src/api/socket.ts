// One WebSocket per tab that carries every watch and log (the server's `http::stream`).

export type Message = { id: number; event?: unknown; text?: string; end?: boolean; status?: number; error?: string };
export type Listener = (message: Message) => void;
export type State = 'connecting' | 'live' | 'lost';

interface Stream {
  op: 'watch' | 'log';
  path: string;
  listener: Listener;
  // Called when the connection was lost; the stream is opened anew with what it answers.
  resume: () => string;
}

const WAIT_MS_MAX = 10_000;
// A watch that the server refused for a passing reason is asked for again after this time.
const AGAIN_MS = 5_000;

export class Socket {
  private socket: WebSocket | undefined;
  private streams = new Map<number, Stream>();
  private next = 1;
  private failures = 0;
  private stateListeners = new Set<(state: State) => void>();
  state: State = 'connecting';

  constructor(private readonly url: string, private readonly make = (u: string) => new WebSocket(u)) {}

  /** Opens a stream; returns what stops it. `resume` gives the path after an interruption. */
  open(op: 'watch' | 'log', path: string, listener: Listener, resume = () => path): () => void {
    const id = this.next++;
    this.streams.set(id, { op, path, listener, resume });
    if (this.socket?.readyState === WebSocket.OPEN) this.send({ op, id, path });
    else this.connect();
    return () => {
      if (this.streams.delete(id)) this.send({ op: 'stop', id });
    };
  }

  onState(listener: (state: State) => void): () => void {
    this.stateListeners.add(listener);
    listener(this.state);
    return () => this.stateListeners.delete(listener);
  }

  private say(state: State) {
    this.state = state;
    this.stateListeners.forEach((listener) => listener(state));
  }

  private send(message: unknown) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private connect() {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    const socket = this.make(this.url);
    this.socket = socket;
    socket.onopen = () => {
      this.failures = 0;
      this.say('live');
      for (const [id, s] of this.streams) this.send({ op: s.op, id, path: s.path });
    };
    socket.onmessage = (event) => this.take(JSON.parse(String(event.data)) as Message);
    socket.onclose = () => {
      this.say('lost');
      for (const stream of this.streams.values()) stream.path = stream.resume();
      const wait = Math.min(WAIT_MS_MAX, 250 * 2 ** this.failures++);
      setTimeout(() => this.connect(), wait);
    };
  }

  private take(message: Message) {
    const stream = this.streams.get(message.id);
    if (!stream) return;
    stream.listener(message);
    if (!message.end) return;
    // A watch that the server ended (timeout, 410) starts again at once, a log that ended is
    // over. What the caller may not see stays refused until the page asks anew.
    const { status = 0 } = message;
    const final = stream.op === 'log' || (status >= 400 && status < 500 && status !== 410 && status !== 429);
    if (final) this.streams.delete(message.id);
    else if (status === 200 || status === 410) this.again(message.id, stream);
    else setTimeout(() => this.again(message.id, stream), AGAIN_MS);
  }

  private again(id: number, stream: Stream) {
    if (this.streams.get(id) !== stream) return;
    stream.path = stream.resume();
    this.send({ op: stream.op, id, path: stream.path });
  }
}

const scheme = globalThis.location?.protocol === 'https:' ? 'wss' : 'ws';
export const socket = new Socket(`${scheme}://${globalThis.location?.host ?? 'localhost'}/api/v1/ws`);
