/**
 * What a replica of the quorum must not forget besides its log: the epoch, its vote in it, and the
 * voters with which the quorum began. One small file, replaced as a whole, durable before anything
 * that relies on it is sent (Raft §5.1).
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isUuid } from '../base/uuid.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { QuorumState } from '../raft/effects.ts'
import type { ReplicaKey } from '../raft/replica-key.ts'
import { replaceFile } from './durable-file.ts'

export const QUORUM_STATE_FILE = 'quorum-state'
const VERSION = 1
const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])
const ROOM_RETRY_MS = 200

export interface SavedQuorum extends QuorumState {
  /** Empty: an observer that has not heard of any yet. */
  readonly firstVoters: readonly ReplicaKey[]
}

/** Null when there is none: the quorum is to be formed, or joined. Throws BrokerError. */
export async function readQuorumState(directory: string): Promise<SavedQuorum | null> {
  const path = join(directory, QUORUM_STATE_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `read ${path}`, error)
  }
  const state = parse(text)
  if (state !== null) return state
  // An empty one in its place could vote twice in an epoch.
  const action = `use ${path}: it is damaged; take this directory out of the quorum and wipe it`
  throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
}

export interface RoomWait {
  /** Runs it with room that was put by for such a case. */
  readonly withReserve: (work: () => Promise<void>) => Promise<void>
  /** The disk has no room; said with each attempt. */
  readonly onNoRoom: () => void
  /** Nothing is written any more: another process may have the directory. */
  readonly isOver: () => boolean
}

/**
 * Resolves when it is durable, if need be once the disk has room. Throws BrokerError, also when
 * the wait for that is over.
 */
export async function writeQuorumState(
  directory: string,
  state: SavedQuorum,
  { withReserve, onNoRoom, isOver }: RoomWait,
): Promise<void> {
  const path = join(directory, QUORUM_STATE_FILE)
  const text = `${JSON.stringify({ version: VERSION, ...state })}\n`
  const replace = (): Promise<void> => replaceFile(path, text)
  for (let tries = 0; ; tries++) {
    try {
      await (tries === 0 ? replace() : withReserve(replace))
      return
    } catch (error) {
      if (!NO_ROOM.has((error as NodeJS.ErrnoException).code ?? '')) {
        throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `write ${path}`, error)
      }
    }
    if (tries === 0) continue
    onNoRoom()
    // Each attempt writes all of it anew: nothing whose flush failed is trusted.
    await new Promise((resolve) => setTimeout(resolve, ROOM_RETRY_MS))
    if (isOver()) {
      const action = `write ${path}: this node stops, and its disk is full`
      throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
    }
  }
}

function parse(text: string): SavedQuorum | null {
  let json: Record<string, unknown> | null
  try {
    json = JSON.parse(text) as Record<string, unknown> | null
  } catch {
    return null
  }
  if (json === null) return null
  const { version, epoch, votedFor, firstVoters } = json
  if (version !== VERSION || !Number.isSafeInteger(epoch) || (epoch as number) < 0) return null
  if (votedFor !== null && !isKey(votedFor)) return null
  if (!Array.isArray(firstVoters) || !firstVoters.every(isKey)) return null
  return { epoch: epoch as number, votedFor, firstVoters }
}

function isKey(value: unknown): value is ReplicaKey {
  if (typeof value !== 'object' || value === null) return false
  const { id, directoryId } = value as Partial<ReplicaKey>
  return Number.isInteger(id) && typeof directoryId === 'string' && isUuid(directoryId)
}
