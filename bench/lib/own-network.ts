/**
 * A benchmark in a network of its own (namespaces, `test/chaos/network.ts`), in which a link can be
 * cut without a word to either end: the program makes the network and runs itself again inside, in
 * the clients' namespace, and removes what is left when that has ended.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Network, whyNoNetworks } from '../../test/chaos/network.ts'

const VARIABLE = 'MILLRACE_BENCH_NETWORK'

/** The network that this process is in; null: it is in the machine's. */
export function ownNetwork(nodes: number): Network | null {
  const prefix = process.env[VARIABLE]
  return prefix === undefined ? null : new Network({ prefix, nodes })
}

/** Runs this program anew in a network of so many nodes. Returns its exit code. Throws. */
export async function runInNetwork(nodes: number): Promise<number> {
  const reason = process.getuid?.() === 0 ? whyNoNetworks() : 'only root may make networks'
  if (reason !== null) throw new Error(reason)
  const prefix = `mrb${process.pid}`
  const network = new Network({ prefix, nodes })
  try {
    network.make()
    const [command, ...inside] = network.inside('clients')
    const args = [...inside, process.execPath, ...process.argv.slice(1)]
    const environment = { ...process.env, [VARIABLE]: prefix }
    const child = spawn(command as string, args, { stdio: 'inherit', env: environment })
    // Ctrl-C reaches both; the child cleans up first.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => child.kill(signal))
    }
    const [code] = await once(child, 'exit')
    return (code as number | null) ?? 1
  } finally {
    network.remove()
  }
}
