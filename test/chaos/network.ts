/**
 * A network of the test's own: one namespace with a bridge, and one for each host, joined to it.
 * Everything has names that begin with the same unique prefix and goes with `remove`; addresses
 * exist in these namespaces only. What a link does not let through is decided by rules of the
 * bridge (nftables), so that neither end is told: packets are not refused, they are gone.
 *
 *   ┌ PREFIX-1 ┐   ┌ PREFIX-2 ┐        ┌ PREFIX-clients ┐
 *   │  eth0    │   │  eth0    │  …     │  eth0          │
 *   └───┬──────┘   └───┬──────┘        └───┬────────────┘
 *   ┌───┴──────────────┴───── PREFIX-sw ───┴────────────┐
 *   │  p1              p2        bridge    p200         │
 *   └───────────────────────────────────────────────────┘
 */
import { execFileSync } from 'node:child_process'

const SUBNET = '10.231.77'
const CLIENTS = 200

/** What happens to the packets of one host's link. */
export type LinkState =
  /** Nothing passes, nothing arrives. */
  | { readonly kind: 'cut' }
  /** What it sends is gone. */
  | { readonly kind: 'mute' }
  /** What is sent to it is gone. */
  | { readonly kind: 'deaf' }
  /** Of all packets, both ways, so many of a hundred are gone. */
  | { readonly kind: 'loss'; readonly percent: number }

export interface NetworkPlace {
  readonly prefix: string
  readonly nodes: number
}

/** Why there can be no such network here; null when there can. */
export function whyNoNetworks(): string | null {
  const network = new Network({ prefix: `mr${process.pid}probe`, nodes: 1 })
  try {
    network.make()
    network.setLink(1, { kind: 'cut' })
    return null
  } catch (error) {
    return `no network namespaces: ${error instanceof Error ? error.message : error}`
  } finally {
    network.remove()
  }
}

export class Network {
  readonly #prefix: string
  readonly #nodes: readonly number[]
  readonly #links = new Map<number, LinkState>()

  constructor({ prefix, nodes }: NetworkPlace) {
    this.#prefix = prefix
    this.#nodes = Array.from({ length: nodes }, (_, index) => index + 1)
  }

  static addressOf(node: number): string {
    return `${SUBNET}.${node}`
  }

  /** Begins a command line that runs in a node's namespace; the mounts stay everybody's. */
  inside(node: number | 'clients'): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.#namespace(node)}`, '--']
  }

  /** Throws what the tools say. */
  make(): void {
    const bridge = this.#bridge
    run('ip', 'netns', 'add', bridge)
    run('ip', '-n', bridge, 'link', 'add', 'bridge', 'type', 'bridge')
    run('ip', '-n', bridge, 'link', 'set', 'bridge', 'up')
    for (const node of this.#nodes) this.#join(this.#namespace(node), node)
    this.#join(this.#namespace('clients'), CLIENTS)
    this.#rule('table bridge chaos { chain forward { type filter hook forward priority 0; }; }')
  }

  /** Null: it works. */
  setLink(node: number, state: LinkState | null): void {
    if (state === null) this.#links.delete(node)
    else this.#links.set(node, state)
    const rules = [...this.#links].flatMap(([of, is]) => rulesOf(`p${of}`, is))
    this.#rule(
      ['flush chain bridge chaos forward', ...rules]
        .map((rule) => (rule.startsWith('flush') ? rule : `add rule bridge chaos forward ${rule}`))
        .join('\n'),
    )
  }

  /** What is sent to the node comes at this rate, after a queue; null: as fast as it can. */
  setRate(node: number, kbit: number | null): void {
    const on = ['-n', this.#bridge, 'qdisc', kbit === null ? 'del' : 'replace', 'dev', `p${node}`]
    const rate = ['tbf', 'rate', `${kbit}kbit`, 'burst', '10kb', 'latency', '500ms']
    run('tc', ...on, 'root', ...(kbit === null ? [] : rate))
  }

  /** Ends what still runs in the namespaces, and removes them. Never throws. */
  remove(): void {
    const hosts = [...this.#nodes, 'clients'] as const
    for (const name of [...hosts.map((host) => this.#namespace(host)), this.#bridge]) {
      for (const pid of tryRun('ip', 'netns', 'pids', name).split(/\s+/)) {
        if (pid !== '' && Number(pid) !== process.pid) tryRun('kill', '-9', pid)
      }
      tryRun('ip', 'netns', 'del', name)
    }
  }

  get #bridge(): string {
    return `${this.#prefix}-sw`
  }

  #namespace(node: number | 'clients'): string {
    return `${this.#prefix}-${node}`
  }

  #join(namespace: string, host: number): void {
    run('ip', 'netns', 'add', namespace)
    const port = `p${host}`
    const peer = ['peer', 'name', 'eth0', 'netns', namespace]
    run('ip', '-n', this.#bridge, 'link', 'add', port, 'type', 'veth', ...peer)
    run('ip', '-n', this.#bridge, 'link', 'set', port, 'master', 'bridge', 'up')
    run('ip', '-n', namespace, 'addr', 'add', `${SUBNET}.${host}/24`, 'dev', 'eth0')
    run('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
    run('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
  }

  #rule(script: string): void {
    const [command, ...args] = ['ip', 'netns', 'exec', this.#bridge, 'nft', '-f', '-'] as const
    execFileSync(command, args, { input: `${script}\n`, stdio: ['pipe', 'ignore', 'pipe'] })
  }
}

function rulesOf(port: string, state: LinkState): string[] {
  const [from, to] = [`iifname "${port}"`, `oifname "${port}"`]
  if (state.kind === 'mute') return [`${from} drop`]
  if (state.kind === 'deaf') return [`${to} drop`]
  if (state.kind === 'cut') return [`${from} drop`, `${to} drop`]
  const some = `numgen random mod 100 < ${state.percent} drop`
  return [`${from} ${some}`, `${to} ${some}`]
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })
}

function tryRun(command: string, ...args: readonly string[]): string {
  try {
    return run(command, ...args)
  } catch {
    return ''
  }
}
