/** Exit statuses of the programs: those of sysexits(3), and Go's 2 for a bad command line. */

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
/** A diagnosis has found something that needs mending. */
export const EXIT_FOUND_PROBLEMS = 3;
/** What was asked for does not run. */
export const EXIT_NOT_RUNNING = 4;
/** EX_NOINPUT: an input file cannot be read or is not in its format. */
export const EXIT_NO_INPUT = 66;
/** EX_UNAVAILABLE: a device, an address or a socket is not to be had. */
export const EXIT_UNAVAILABLE = 69;
/** EX_IOERR: the disk failed or is full. */
export const EXIT_IO_ERROR = 74;
/** EX_TEMPFAIL: part of the work was left out; try again under better conditions. */
export const EXIT_INCOMPLETE = 75;
/** EX_NOPERM: a privilege is missing. */
export const EXIT_NO_PERMISSION = 77;
/** EX_CONFIG: the configuration cannot work. */
export const EXIT_CONFIGURATION = 78;
