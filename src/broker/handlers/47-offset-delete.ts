import { ErrorCode } from '../../errors/error-code.ts'
import type {
  OffsetDeleteRequest,
  OffsetDeleteResponseInit,
} from '../../wire/kafka/schema/47-offset-delete.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** OffsetDelete (key 47): a group forgets how far it was in partitions that nobody reads for it. */
interface Result {
  readonly code: ErrorCode
  readonly codes: readonly ErrorCode[]
}

export async function offsetDelete(broker: Broker, body: OffsetDeleteRequest): Promise<Reply> {
  const partitions = body.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
  )
  const { code, codes } = await broker.groups.ask<Result>(
    body.groupId,
    (coordinator, _now, reply) => coordinator.deleteOffsets(body.groupId, partitions, reply),
    (failure) => ({ code: failure, codes: [] }),
  )
  let next = 0
  return {
    body: {
      errorCode: code,
      topics:
        code === ErrorCode.NONE
          ? body.topics.map(({ name, partitions: asked }) => ({
              name,
              partitions: asked.map(({ partitionIndex }) => ({
                partitionIndex,
                errorCode: codes[next++] as ErrorCode,
              })),
            }))
          : [],
    } satisfies OffsetDeleteResponseInit,
  }
}
