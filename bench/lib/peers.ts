/** Brokers of several kinds as processes, each in a folder and a memory cgroup of its own. */
import type { ChildProcess } from 'node:child_process'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../test/support/ports.ts'
import { projectFolder, startBroker } from './broker.ts'
import {
  accepts,
  deleteFolder,
  deleteGroup,
  hasEnded,
  ownFolder,
  ownGroup,
  sleep,
  startProcess,
  stopProcess,
  tailOf,
} from './children.ts'
import { startKafka } from './kafka-broker.ts'
import { MemoryGroup } from './memory-group.ts'

export interface Peer {
  readonly pid: number
  readonly port: number
  stop(): Promise<void>
}

type Started = { readonly child: ChildProcess; readonly port: number }
type Start = (at: { folder: string; group: MemoryGroup | undefined }) => Promise<Started>

const READY_TIMEOUT_MS = 20_000

async function startPeer(parent: string, memoryBytes: number, start: Start): Promise<Peer> {
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'millrace-peer-'))
  ownFolder(folder)
  // Without cgroups all of them go without.
  const made = MemoryGroup.create(`millrace-peer-${process.pid}-${Date.now()}`, memoryBytes)
  const group = typeof made === 'string' ? undefined : made
  if (group !== undefined) ownGroup(group)
  const clear = async (): Promise<void> => {
    deleteFolder(folder)
    if (group !== undefined) await deleteGroup(group)
  }
  try {
    const { child, port } = await start({ folder, group })
    const stop = async (): Promise<void> => {
      await stopProcess(child)
      await clear()
    }
    return { pid: child.pid as number, port, stop }
  } catch (error) {
    await clear()
    throw error
  }
}

export function startMillracePeer(parent: string, memoryBytes: number): Promise<Peer> {
  return startPeer(parent, memoryBytes, async ({ folder, group }) => {
    const { child, kafkaPort } = await startBroker({
      dataDir: join(folder, 'data'),
      logFile: join(folder, 'log'),
      shards: 1,
      settings: [],
      nodeArgs: ['--max-semi-space-size=64'],
      group,
      readyTimeoutMs: READY_TIMEOUT_MS,
    })
    return { child, port: kafkaPort }
  })
}

export function startKafkaPeer(parent: string, memoryBytes: number): Promise<Peer> {
  return startPeer(parent, memoryBytes, async ({ folder, group }) => {
    const settings = ['num.network.threads=2', 'num.io.threads=2']
    const { child, kafkaPort } = await startKafka({ folder, settings, group })
    return { child, port: kafkaPort }
  })
}

export function startRedis(parent: string, memoryBytes: number): Promise<Peer> {
  return startPeer(parent, memoryBytes, async ({ folder, group }) => {
    const port = await freePort()
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '']
    args.push('--appendonly', 'yes', '--appendfsync', 'everysec', '--daemonize', 'no')
    // Rewriting the log is a cost of its own; a short run would show it or not by chance.
    args.push('--auto-aof-rewrite-percentage', '0')
    return startServer('redis-server', 'redis', args, { folder, group, port })
  })
}

export function startNats(parent: string, memoryBytes: number): Promise<Peer> {
  return startPeer(parent, memoryBytes, async ({ folder, group }) => {
    const port = await freePort()
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', join(folder, 'data')]
    return startServer('nats-server', 'nats', args, { folder, group, port })
  })
}

async function startServer(
  command: string,
  peer: string,
  args: readonly string[],
  at: { folder: string; group: MemoryGroup | undefined; port: number },
): Promise<Started> {
  const script = join(projectFolder(), 'scripts', 'install-peers.sh')
  const installed = spawnSync('bash', [script, peer], { stdio: 'ignore' })
  if (installed.status !== 0) throw new Error(`scripts/install-peers.sh ${peer} failed`)
  const logFile = join(at.folder, 'log')
  const child = startProcess({ command, args, logFile, group: at.group })
  const deadlineMs = performance.now() + READY_TIMEOUT_MS
  while (!(await accepts(at.port))) {
    if (hasEnded(child) || performance.now() > deadlineMs) {
      await stopProcess(child, 1000)
      throw new Error(`${command} did not start; its last lines:\n${tailOf(logFile)}`)
    }
    await sleep(10)
  }
  return { child, port: at.port }
}
