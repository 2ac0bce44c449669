/**
 * The bytes of segment files below a broker's data directories, for who shares a machine with it.
 * Both name a partition's directory by its number behind a dash: Millrace by topic id, Kafka by
 * topic name.
 */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { uuidToHex } from '../base/uuid.ts'
import type { ReadyTopic } from './control.ts'
import { LoadError } from './load-error.ts'
import type { Place } from './place.ts'

const SEGMENT_SUFFIX = '.log'

/** In the order of `places`; null: there is none. Throws LoadError when one cannot be read. */
export async function diskBytes(
  directories: readonly string[],
  places: readonly Place[],
  topics: readonly ReadyTopic[],
): Promise<(number | null)[]> {
  const ids = new Map(topics.map(({ name, topicId }) => [name, topicId]))
  const bytes: (number | null)[] = []
  for (const { topic, partition } of places) {
    const topicId = ids.get(topic) ?? null
    const names = topicId === null ? [topic] : [topic, uuidToHex(topicId)]
    const found: number[] = []
    for (const name of names) {
      for (const directory of directories) {
        const sum = await segmentBytes(join(directory, `${name}-${partition}`))
        if (sum !== null) found.push(sum)
      }
    }
    bytes.push(found.length === 0 ? null : found.reduce((sum, one) => sum + one, 0))
  }
  return bytes
}

/** Null: there is no such directory. */
async function segmentBytes(directory: string): Promise<number | null> {
  try {
    let sum = 0
    for (const name of await readdir(directory)) {
      if (name.endsWith(SEGMENT_SUFFIX)) sum += (await stat(join(directory, name))).size
    }
    return sum
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    const reason = error instanceof Error ? error.message : String(error)
    throw new LoadError(`cannot read the broker's files: ${reason}`, error)
  }
}
