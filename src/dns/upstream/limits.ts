/** Amounts of the upstream client. */

/** spec/resolver.md 1.14, 4.2: built-in limit of questions in flight to a group of servers. */
export const CONCURRENT_MAX = 1024;
