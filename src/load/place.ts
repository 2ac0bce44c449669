import type { Address } from './load-socket.ts'

/** One partition of the topics under load. Everything that counts by partition counts by place. */
export interface Place {
  readonly topic: string
  readonly partition: number
  /** Where it is led; null: at the address of the run, or nobody says. */
  readonly leader?: Address | null
}

export function nameOf({ topic, partition }: Pick<Place, 'topic' | 'partition'>): string {
  return `${topic}-${partition}`
}

/**
 * The places (their indexes) that each of `lanes` sends to or reads: dealt out in turn, so that
 * every place is some lane's, and every lane has one.
 */
export function dealPlaces(places: number, lanes: number): number[][] {
  return Array.from({ length: lanes }, (_, lane) => {
    if (lanes >= places) return [lane % places]
    const mine: number[] = []
    for (let place = lane; place < places; place += lanes) mine.push(place)
    return mine
  })
}
