/** The topics of a run: made when they are missing, or found. */
import type { Control, ReadyTopic } from './control.ts'
import { LoadError } from './load-error.ts'
import type { Place } from './place.ts'
import { PARTITIONS_DEFAULT, type TargetSettings, topicNames } from './settings.ts'

/** Throws LoadError when a topic has another number of partitions than was asked for. */
export async function prepareTopics(
  control: Control,
  settings: TargetSettings,
): Promise<ReadyTopic[]> {
  const partitions = settings.partitions ?? PARTITIONS_DEFAULT
  const topics = await control.prepare({ names: topicNames(settings), partitions })
  for (const topic of topics) checkPartitions(topic, settings)
  return topics
}

/** Throws LoadError when one of them does not exist, or is another than was said. */
export async function findTopics(
  control: Control,
  settings: TargetSettings,
): Promise<ReadyTopic[]> {
  const names = topicNames(settings)
  const found = await control.find(names)
  return found.map((topic, i) => {
    if (topic === null) {
      throw new LoadError(`there is no topic ${names[i]}: millrace bench produce makes some`)
    }
    checkPartitions(topic, settings)
    return topic
  })
}

export function placesOf(topics: readonly ReadyTopic[]): Place[] {
  return topics.flatMap(({ name, partitions, leaders }) => {
    return Array.from({ length: partitions }, (_, partition) => {
      return { topic: name, partition, leader: leaders?.get(partition) ?? null }
    })
  })
}

function checkPartitions({ name, partitions: has }: ReadyTopic, settings: TargetSettings): void {
  const { partitions: wanted } = settings
  if (wanted === null || wanted === has) return
  const fix = 'leave --partitions out, or name other topics with --topic'
  throw new LoadError(`topic ${name} has ${has} partitions, not ${wanted}: ${fix}`)
}
