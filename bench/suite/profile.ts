/**
 * How a machine is shared between the program under load and the load: shards, cores, connections.
 * Pure.
 */

export interface Profile {
  readonly name: string
  /** Of Millrace; one thread each, beside main. */
  readonly shards: number
  /** Cores of the target and of the load, as `taskset -c` takes them; null: all, shared. */
  readonly targetCpus: string | null
  readonly loadCpus: string | null
  /** Every cell's connections and partitions are multiplied with this. */
  readonly scale: number
  /** Kafka's num.network.threads and num.io.threads. */
  readonly kafkaThreads: number
}

/**
 * For `cores` cores. Up to three are shared by all; with more, a quarter generates the load, the
 * rest serves: one core for main, one for each shard.
 */
export function profileFor(cores: number): Profile {
  if (cores < 4) {
    return {
      name: `${cores} shared cores`,
      shards: 1,
      targetCpus: null,
      loadCpus: null,
      scale: 1,
      kafkaThreads: Math.max(2, cores),
    }
  }
  const load = Math.max(1, Math.floor(cores / 4))
  const target = cores - load
  const shards = target - 1
  return {
    name: `${cores} cores`,
    shards,
    targetCpus: `0-${target - 1}`,
    loadCpus: load === 1 ? String(target) : `${target}-${cores - 1}`,
    scale: Math.max(1, Math.ceil(shards / 4)),
    kafkaThreads: target,
  }
}

const CPU_LIST = /^\d+(-\d+)?(,\d+(-\d+)?)*$/

/** A profile from JSON, or what is wrong with it. */
export function parseProfile(text: string): Profile | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return 'is not JSON'
  }
  if (typeof value !== 'object' || value === null) return 'must be an object'
  const given = value as Record<string, unknown>
  const known = ['name', 'shards', 'targetCpus', 'loadCpus', 'scale', 'kafkaThreads']
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined) return `does not know ${unknown}; it knows ${known.join(', ')}`
  const { name, shards, targetCpus = null, loadCpus = null, scale = 1, kafkaThreads = 8 } = given
  if (typeof name !== 'string' || name === '') return 'name must be a text'
  const isCount = (count: unknown, max: number): count is number =>
    typeof count === 'number' && Number.isInteger(count) && count >= 1 && count <= max
  if (!isCount(shards, 256)) return 'shards must be a whole number 1 to 256'
  if (!isCount(scale, 1000)) return 'scale must be a whole number 1 to 1000'
  if (!isCount(kafkaThreads, 256)) return 'kafkaThreads must be a whole number 1 to 256'
  const isCpus = (cpus: unknown): cpus is string | null =>
    cpus === null || (typeof cpus === 'string' && CPU_LIST.test(cpus))
  if (!isCpus(targetCpus)) return 'targetCpus must be cores such as "0-11,16", or null'
  if (!isCpus(loadCpus)) return 'loadCpus must be cores such as "12-15", or null'
  return { name, shards, targetCpus, loadCpus, scale, kafkaThreads }
}
