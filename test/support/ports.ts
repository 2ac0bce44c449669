import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/*
 * Ports for servers that tests start in processes of their own. A port that the system names (one
 * bound to 0) is of the range that outgoing connections take theirs from: any client may have it
 * before the server does. These lie below that range, in blocks of one process each; who listens on
 * a block's first port owns the block, until it ends.
 */
const FIRST_PORT = 10_240
const END_PORT = 32_768
const BLOCK_PORTS = 64
const BLOCKS = (END_PORT - FIRST_PORT) / BLOCK_PORTS

let nextPort = 0
let blockEnd = 0
let turn: Promise<unknown> = Promise.resolve()

/** A loopback port that nobody listens on, and that no other process of tests is given. */
export function freePort(): Promise<number> {
  return freePorts(1)
}

/** The first of `count` (at most 32) such ports that are neighbours. */
export function freePorts(count: number): Promise<number> {
  const found = turn.then(() => take(count))
  turn = found.catch(() => {})
  return found
}

async function take(count: number): Promise<number> {
  for (;;) {
    if (nextPort + count > blockEnd) await takeBlock()
    const first = nextPort
    nextPort += count
    if (await areFree(first, count)) return first
  }
}

async function takeBlock(): Promise<void> {
  const start = randomInt(BLOCKS)
  for (let i = 0; i < BLOCKS; i++) {
    const port = FIRST_PORT + ((start + i) % BLOCKS) * BLOCK_PORTS
    const owner = await listen(port)
    if (owner === null) continue
    owner.unref()
    nextPort = port + 1
    blockEnd = port + BLOCK_PORTS
    return
  }
  throw new Error(`all ports from ${FIRST_PORT} to ${END_PORT} are taken`)
}

/** A server that was killed may have left a child that still listens. */
async function areFree(first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port++) {
    const server = await listen(port)
    if (server === null) return false
    server.close()
    await once(server, 'close')
  }
  return true
}

async function listen(port: number): Promise<Server | null> {
  const server = createServer()
  server.listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return null
    throw error
  }
}
