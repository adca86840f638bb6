// Numbers, days and months as people read them. Months and days are in UTC, as the server counts them.

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const cents = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const fractions = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumFractionDigits: 4 });
const micros = new Intl.NumberFormat("en", { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 6 });
const monthly = new Intl.DateTimeFormat("en", { month: "long", year: "numeric", timeZone: "UTC" });
const daily = new Intl.DateTimeFormat("en", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export const count = (number) => whole.format(number);
export const short = (number) => compact.format(number);
/** Exactly: to the millionth, which is what is kept. */
export const usd = (dollars) => micros.format(dollars);
/** As far as it is read. */
export const dollars = (amount) => (amount >= 1 || amount === 0 ? cents : amount >= 0.01 ? fractions : micros).format(amount);
export const millis = (ms) => (ms === null ? "–" : ms < 1000 ? `${whole.format(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`);

export const monthName = (month) => monthly.format(new Date(`${month}-01T00:00Z`));
export const dayName = (day) => daily.format(new Date(`${day}T00:00Z`));
export const momentName = (at) => moment.format(new Date(at));

export const thisMonth = () => new Date().toISOString().slice(0, 7);
export const isMonth = (text) => /^[1-9]\d{3}-(0[1-9]|1[0-2])$/.test(text);

/** The month so many later. */
export function monthAfter(month, by) {
  const [year, number] = month.split("-").map(Number);
  return new Date(Date.UTC(year, number - 1 + by, 1)).toISOString().slice(0, 7);
}

export function daysOf(month) {
  const [year, number] = month.split("-").map(Number);
  const last = new Date(Date.UTC(year, number, 0)).getUTCDate();
  return Array.from({ length: last }, (_, at) => `${month}-${String(at + 1).padStart(2, "0")}`);
}
