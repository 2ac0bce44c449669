/** One connection under several lanes: each has slots of its own, and hears of those alone. */
import type { RequestConnection, RequestDriver, RequestEvents } from './driver.ts'

export interface SharedLane extends RequestEvents {
  attach(connection: RequestConnection): void
}

/** Opens a connection for `lanes`; slot s is that of lane ⌊s / `slotsPerLane`⌋. */
export async function connectLanes(
  driver: RequestDriver,
  lanes: readonly SharedLane[],
  slotsPerLane: number,
): Promise<RequestConnection> {
  const connection = await driver.open({
    answered: (slot, baseOffset, refusal) => {
      const lane = lanes[Math.floor(slot / slotsPerLane)]
      if (lane !== undefined) lane.answered(slot, baseOffset, refusal)
      else for (const one of lanes) one.broke(`it answered a request ${slot}, which nobody made`)
    },
    room: () => {
      for (const lane of lanes) lane.room()
    },
    broke: (reason) => {
      for (const lane of lanes) lane.broke(reason)
    },
  })
  for (const lane of lanes) lane.attach(connection)
  return connection
}
