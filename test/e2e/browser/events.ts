/** What the page writes, for the page and for the test that checks it. */

/** An event is the text of its number; every third has a key. */
export function keyOf(number: number): string | null {
  return number % 3 === 0 ? `key-${number % 101}` : null
}
