import type {
  AddRaftVoterRequest,
  AddRaftVoterResponseInit,
} from '../../wire/kafka/schema/80-add-raft-voter.ts'
import type { Broker } from '../broker.ts'
import { changeVoters } from '../change-voters.ts'
import type { Reply } from '../request.ts'

/** AddRaftVoter (key 80): one more controller votes (KIP-853). */
export async function addRaftVoter(broker: Broker, body: AddRaftVoterRequest): Promise<Reply> {
  const { voterId: nodeId, voterDirectoryId: directoryId } = body
  const listeners = body.listeners.map(({ name, host, port }) => ({ name, host, port }))
  const { errorCode, errorMessage } = await changeVoters(broker, body.clusterId, (admin) =>
    admin.addVoter({ nodeId, directoryId, listeners }),
  )
  return {
    body: { throttleTimeMs: 0, errorCode, errorMessage } satisfies AddRaftVoterResponseInit,
  }
}
