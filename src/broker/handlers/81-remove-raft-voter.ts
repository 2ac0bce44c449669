import type {
  RemoveRaftVoterRequest,
  RemoveRaftVoterResponseInit,
} from '../../wire/kafka/schema/81-remove-raft-voter.ts'
import type { Broker } from '../broker.ts'
import { changeVoters } from '../change-voters.ts'
import type { Reply } from '../request.ts'

/** RemoveRaftVoter (key 81): a controller votes no more (KIP-853). */
export async function removeRaftVoter(
  broker: Broker,
  body: RemoveRaftVoterRequest,
): Promise<Reply> {
  const { voterId: nodeId, voterDirectoryId: directoryId } = body
  const { errorCode, errorMessage } = await changeVoters(broker, body.clusterId, (admin) =>
    admin.removeVoter({ nodeId, directoryId }),
  )
  return {
    body: { throttleTimeMs: 0, errorCode, errorMessage } satisfies RemoveRaftVoterResponseInit,
  }
}
