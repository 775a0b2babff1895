// One Towpath server for a test file: own directory, ports, networks; gone afterwards.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const root = new URL('../..', import.meta.url).pathname;
const binary = process.env.TOWPATH_BIN ?? join(root, 'target/debug/towpath');

// Below the ports that the system gives to connections, which now and then has one of a port it
// has just handed out; and below Kubernetes' node ports. Other processes begin elsewhere.
const FIRST = 12_000, PORTS = 17_000;
let next = process.pid * 131;

async function freePort() {
  for (let tries = 0; tries < PORTS; tries += 1) {
    const port = FIRST + (next++ % PORTS);
    const server = createServer();
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error('no port is free');
}

export class Server {
  /** `settings` is what `towpath.toml` says. */
  static async start(settings = '') {
    const server = new Server();
    server.dir = mkdtempSync(join(tmpdir(), 'towpath-journey-'));
    const file = join(server.dir, 'towpath.toml');
    writeFileSync(file, settings);
    const [http, api, ingress] = [await freePort(), await freePort(), await freePort()];
    // Networks out of the way of a default instance and of other tests.
    const block = 64 + (process.pid % 16) * 2;
    server.flags = [
      '--config', file, '--data-dir', join(server.dir, 'data'), '--http', `127.0.0.1:${http}`, '--api', `127.0.0.1:${api}`,
      '--ingress', `127.0.0.1:${ingress}`, '--instance', `j${process.pid % 100000}`,
      '--pod-cidr', `10.${block}.0.0/16`, '--service-cidr', `10.${block + 1}.0.0/16`,
    ];
    server.url = `http://127.0.0.1:${http}`;
    server.ingress = `http://127.0.0.1:${ingress}`;
    // Whatever ends this process, nothing stays behind.
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => { server.stop(); process.exit(1); });
    process.once('exit', () => server.stop());
    await server.towpath('up');
    server.token = (await server.towpath('token')).trim();
    return server;
  }

  /** Runs a command of the CLI; fails with what it printed. */
  async towpath(...args) {
    const options = { maxBuffer: 64 << 20, timeout: 1_200_000 };
    const { stdout } = await run(binary, [...args, ...this.flags], options).catch((error) => {
      throw new Error(`towpath ${args.join(' ')}: exit ${error.code}\n${error.stdout}\n${error.stderr}`);
    });
    return stdout;
  }

  /** The exit code of a command of the CLI. */
  code(...args) {
    return spawnSync(binary, [...args, ...this.flags], { timeout: 1_200_000 }).status;
  }

  /** GET with the token. */
  async get(path) {
    const response = await fetch(this.url + path, { headers: { authorization: `Bearer ${this.token}` } });
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    spawnSync(binary, ['down', ...this.flags], { stdio: 'inherit' });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A working copy of the sample as a user would have it. */
export class WorkingCopy {
  constructor(server) {
    this.server = server;
    this.dir = join(server.dir, 'hello');
    const files = execFileSync('git', ['-C', root, 'ls-files', '--', 'examples/hello'], { encoding: 'utf8' });
    for (const file of files.trim().split('\n')) cpSync(join(root, file), join(this.dir, file.slice('examples/hello/'.length)), { recursive: true });
    this.git('init', '--quiet', '--initial-branch', 'main');
  }

  git(...args) {
    const identity = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org'];
    return execFileSync('git', ['-C', this.dir, ...identity, ...args], { encoding: 'utf8' }).trim();
  }

  /** Commits everything and returns the commit. */
  commit(message) {
    this.git('add', '--all');
    this.git('commit', '--quiet', '--message', message);
    return this.git('rev-parse', 'HEAD');
  }
}

/** Waits until `probe` returns something truthy. */
export async function until(what, probe, limit = 120_000) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what} did not happen within ${limit / 1000} s; last: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
