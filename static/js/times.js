// Times are local, and relative where they are near. The server writes UTC, which is what is read without script.

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

/** What a person reads for `seconds` ago. */
function ago(seconds) {
  if (seconds < 5) return 'now';
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 2_592_000) return `${Math.floor(seconds / 86_400)} d ago`;
  return undefined;
}

function ahead(seconds) {
  if (seconds < 60) return `in ${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `in ${Math.ceil(seconds / 60)} min`;
  if (seconds < 172_800) return `in ${Math.ceil(seconds / 3600)} h`;
  return undefined;
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Writes every time in `root` as of now. */
export function tickTimes(root) {
  for (const element of root.querySelectorAll?.('time[datetime]') ?? []) {
    const at = new Date(element.dateTime);
    const seconds = (Date.now() - at) / 1000;
    let text;
    if (element.dataset.as === 'elapsed') text = span(Math.max(seconds, 0));
    else if (element.dataset.as === 'date') text = day.format(at);
    else text = (seconds >= 0 ? ago(seconds) : ahead(-seconds)) ?? day.format(at);
    if (element.textContent !== text) element.textContent = text;
    if (!element.title || element.title.endsWith('UTC') === false) {
      element.title = `${exact.format(at)}, ${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
    }
  }
}

/** The time of day, for the banner. */
export function timeOfDay(date) {
  return clock.format(date);
}
