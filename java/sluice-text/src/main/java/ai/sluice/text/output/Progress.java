package ai.sluice.text.output;

/** Where something that is read by the character stands. */
enum Progress {
  /** More belongs to it. */
  MORE,
  /** It ended with this character. */
  DONE,
  /** It is not what it looked like. */
  BAD
}
