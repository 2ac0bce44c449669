/**
 * Under which epoch the process before this one was registered, and whether what it acknowledged
 * can have been lost since: a process that dies leaves what it has written to the system, a machine
 * that dies does not. One small file in the directory of the metadata log.
 */
import { closeSync, fsyncSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../../cluster/durable-file.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'

const FILE = 'broker-registration'
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** Names this run of the machine; null where the system has no such name. */
export function bootId(): string | null {
  // Tests that cut the power of a disk, not of the machine, say so.
  const told = process.env.MILLRACE_TEST_BOOT_ID
  if (told !== undefined) return told
  try {
    return readFileSync(BOOT_ID, 'utf8').trim()
  } catch {
    return null
  }
}

/**
 * The broker epoch since whose registration nothing can have been lost; −1 when that is not known.
 * `wasClosedInOrder`: the last stop left nothing that was not on the disk. Throws BrokerError.
 */
export function previousBrokerEpoch(directory: string, wasClosedInOrder: boolean): number {
  let saved: { bootId?: unknown; brokerEpoch?: unknown } | null
  try {
    saved = JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as typeof saved
  } catch {
    return -1
  }
  if (saved === null) return -1
  const { brokerEpoch } = saved
  if (!Number.isSafeInteger(brokerEpoch)) return -1
  const isSameRun = saved.bootId !== null && saved.bootId === bootId()
  if (isSameRun || wasClosedInOrder) return brokerEpoch as number
  forget(directory)
  return -1
}

/**
 * This process is no broker: it leaves the logs alone, and its own stop in order says nothing of
 * what the broker before it had not flushed. Throws BrokerError.
 */
export function startWithoutBroker(directory: string, wasClosedInOrder: boolean): void {
  if (!wasClosedInOrder) forget(directory)
}

/** Something may be lost: a stop in order, before this process is registered, heals nothing. */
function forget(directory: string): void {
  try {
    rmSync(join(directory, FILE), { force: true })
    const file = openSync(directory, 'r')
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `write ${directory}`, error)
  }
}

/** Resolves when it is durable. Throws BrokerError. */
export async function writeRegistration(directory: string, brokerEpoch: number): Promise<void> {
  const path = join(directory, FILE)
  try {
    await replaceFile(path, `${JSON.stringify({ bootId: bootId(), brokerEpoch })}\n`)
  } catch (error) {
    throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `write ${path}`, error)
  }
}
