/**
 * The staff's page: signing in again, the form of a deposit, its progress, its links, and the list of what was sent.
 * docs/staff-page.md describes it.
 */

import { chosen, complainOfFiles, forgetChosen, onChoosing, picked, removeFile } from "./choosing.js";
import { confirmed } from "./confirming.js";
import { Cancelled } from "./control.js";
import { Deposit, interrupted, InUse, issueAgain, matched } from "./deposit.js";
import { forgetShares, isLeft, showShares } from "./handover.js";
import { Keeper, openStore } from "./kept.js";
import { currentLanguage, speak, speaks } from "./language.js";
import { lifetimes, recipientsOf, recipientsProblem, recordsProblem, seconds, shown, subjectProblem } from "./rules.js";
import { Sending } from "./sending.js";
import { onSent, showSent, tidy } from "./sent.js";
import { onSignedOut, Refused, signOut, whoIsThere } from "./session.js";
import { FileChanged } from "./source.js";
import { alone, byId, copyOf, notice, offerLanguages, part, put, show, status } from "./view.js";

/** @typedef {import("./session.js").Me} Me */
/** @typedef {import("./kept.js").KeptTransfer} KeptTransfer */
/** @typedef {HTMLInputElement & HTMLTextAreaElement & HTMLSelectElement} Field */

/** @type {Me} */
let me;
/** @type {Keeper} */
let keeper;
/** The view of a deposit: the form, its progress, or its links. */
let stage = "form";
/** @type {Deposit | null} */
let running = null;

/** Other tabs, which are told who is signed in; an empty text: nobody. */
const tabs = new BroadcastChannel("caducee-person");

const field = (/** @type {string} */ id) => /** @type {Field} */ (byId(id));

// --- the start

async function start() {
  const opening = openStore(); // all at once: each takes a moment
  const asking = whoIsThere();
  asking.catch(() => {}); // awaited below
  if (!speaks() && !(await speak(currentLanguage()))) return show("busy");
  try {
    me = await asking;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return location.assign("/sign-in");
    if (error instanceof Refused) return show("stopped", { detail: error.detail, code: error.code });
    return show("busy");
  }
  if (me.sealed === "refuse") return show("unsealed");
  keeper = new Keeper(me.id, opening);
  tabs.postMessage(me.id);
  byId("bar").hidden = false;
  byId("nav-audit").hidden = me.role !== "admin";
  part(byId("bar"), "bdi").textContent = me.name ?? "";
  onChoosing(me, () => status("form", null));
  onSent(keeper, shareAgain);
  offer();
  void tidy(keeper).then(() => (stage === "form" ? offerInterrupted() : null));
  return route();
}

/** Show the view that the address names. */
async function route() {
  const isSent = location.hash === "#sent";
  for (const name of ["send", "sent"]) {
    byId(`nav-${name}`).toggleAttribute("aria-current", false);
    if ((name === "sent") === isSent) byId(`nav-${name}`).setAttribute("aria-current", "page");
  }
  if (isSent) {
    show("sent");
    return showSent();
  }
  show(stage);
  if (stage === "form") await offerInterrupted();
}

/** Fill in what the house allows. */
function offer() {
  const { max_files: files, max_bytes: bytes, max_lifetime: longest, purposes, default_lifetime: preset } = me;
  const lifetime = field("lifetime");
  lifetime.replaceChildren(...lifetimes(me).map((each) => option(each, "lifetime", { span: { lasting: seconds(each) } })));
  lifetime.value = lifetimes(me).find((each) => seconds(each) === seconds(preset)) ?? preset;
  put(byId("rules"), "rules", { count: files, size: { bytes }, span: { lasting: seconds(longest) } });
  byId("purpose-row").hidden = purposes.length === 0;
  for (const each of purposes) field("purpose").add(new Option(each, each));
  field("language-of-mail").value = currentLanguage();
  void keeper.keeps().then((keeps) => put(byId("keeps"), keeps ? null : "keeps_nothing"));
}

/**
 * @param {string} value
 * @param {string} key
 * @param {import("./language.js").Values} values
 */
function option(value, key, values) {
  const made = new Option("", value);
  put(made, key, values);
  return made;
}

// --- the form

byId("deposit").addEventListener("submit", (event) => {
  event.preventDefault();
  void alone(submit);
});
for (const id of ["recipients", "subject", "records"]) byId(id).addEventListener("input", () => complain(id, null));
byId("recipients").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.ctrlKey) /** @type {HTMLFormElement} */ (byId("deposit")).requestSubmit();
});

async function submit() {
  const files = await chosen();
  const recipients = recipientsOf(field("recipients").value);
  const subject = field("subject").value.trim();
  const records = field("records").value.trim();
  const wrong = [
    complain("recipients", recipientsProblem(recipients, me)),
    complain("subject", subjectProblem(subject)),
    complain("records", recordsProblem(records)),
  ];
  if (wrong[2]) part(byId("deposit"), "details").toggleAttribute("open", true);
  if (!complainOfFiles()) return byId("pick").focus();
  const first = ["recipients", "subject", "records"].find((_, index) => wrong[index]);
  if (first) return byId(first).focus();
  const purpose = field("purpose").value;
  const terms = {
    expires_in: field("lifetime").value,
    ...(subject && { label: subject }),
    ...(purpose && { purpose }),
    ...(records && { records: Number(records) }),
  };
  const plan = { terms, recipients, language: field("language-of-mail").value, chosen: files };
  return void run((deposit) => deposit.begin(plan));
}

/**
 * Show what is wrong with a field, and return whether anything is.
 * @param {string} id
 * @param {import("./rules.js").Problem | null} problem
 */
function complain(id, problem) {
  put(byId(`${id}-error`), problem?.key ?? null, problem?.values);
  byId(id).setAttribute("aria-invalid", String(problem !== null));
  return problem !== null;
}

// --- the deposit

const sending = new Sending({
  pause: () => running?.control.pause(),
  resume: () => running?.control.resume(),
  cancel: async () => {
    if (await confirmed({ title: "cancel_title", text: "cancel_text", yes: "cancel_yes" })) running?.control.cancel();
  },
});

/** @param {(deposit: Deposit) => Promise<import("./sealed-transfer.js").Share[]>} act */
async function run(act) {
  if (running) return;
  running = new Deposit(keeper, sending);
  sending.begin();
  to("sending");
  try {
    showShares(await act(running));
    put(byId("handover-text"), "handover_first");
    field("recipients").value = field("subject").value = field("records").value = "";
    forgetChosen();
    return to("handover");
  } catch (error) {
    return await failed(error);
  } finally {
    sending.end();
    running = null;
  }
}

/** @param {unknown} error */
async function failed(error) {
  const isOther = error instanceof Refused && error.code === "other_person";
  const ended = error instanceof InUse || isOther ? null : await abandoned();
  to("form");
  if (error instanceof Cancelled) return status("form", ended);
  if (error instanceof InUse) return notice("form", "in_use");
  if (error instanceof FileChanged) {
    removeFile(error.file);
    return notice("form", "file_changed", { name: shown(error.file) });
  }
  if (isOther) return notice("form", "other_person");
  if (error instanceof Refused) return notice("form", "refused", { detail: error.detail, code: error.code });
  notice("form", "failed");
  throw error;
}

/**
 * End the transfer that failed, and return the sentence that says how far. If the service cannot be reached, the transfer is
 * offered as interrupted, and expires.
 */
async function abandoned() {
  try {
    return (await running?.abandon()) === false ? "cancelled_keys" : "cancelled";
  } catch {
    return "cancelled_pending";
  }
}

/** @param {string} view */
function to(view) {
  stage = view;
  if (location.hash === "#sent") history.replaceState(null, "", `${location.pathname}${location.search}#send`);
  void route();
}

// --- an interrupted deposit

async function offerInterrupted() {
  byId("interrupted").replaceChildren(...(await interrupted(keeper)).map(interruptedRow));
}

/** @param {KeptTransfer} kept */
function interruptedRow(kept) {
  const item = copyOf("interrupted-row");
  const names = kept.files.slice(0, 5).map(shown).join(", ");
  put(part(item, ".what"), "interrupted_what", { count: kept.files.length, names, for: kept.recipients.join(", ") });
  const input = /** @type {HTMLInputElement} */ (part(item, "input"));
  const folders = kept.files.some(({ path }) => path);
  input.toggleAttribute("webkitdirectory", folders);
  part(item, ".go-on").addEventListener("click", () => {
    if (kept.files.every(({ done }) => done)) return void run((deposit) => deposit.goOn(kept, []));
    input.click();
  });
  input.addEventListener("change", () => void alone(() => goOn(kept, item, picked(input.files))));
  part(item, ".discard").addEventListener("click", () => void alone(() => discard(kept)));
  return item;
}

/**
 * @param {KeptTransfer} kept
 * @param {HTMLElement} item
 * @param {import("./deposit.js").Chosen[]} again
 */
async function goOn(kept, item, again) {
  const { files, missing } = matched(kept, again);
  if (missing.length > 0) return put(part(item, ".error"), "interrupted_other", { count: missing.length, name: missing[0] });
  return void run((deposit) => deposit.goOn(kept, files));
}

/** @param {KeptTransfer} kept */
async function discard(kept) {
  if (!(await confirmed({ title: "cancel_title", text: "cancel_text", yes: "cancel_yes" }))) return;
  try {
    await new Deposit(keeper, sending).discard(kept);
  } catch (error) {
    return notice("form", error instanceof InUse ? "in_use" : "sent_cut");
  }
  await offerInterrupted();
  return byId("pick").focus();
}

// --- links

/**
 * @param {KeptTransfer} kept
 * @param {string} recipient
 */
async function shareAgain(kept, recipient) {
  if (running || isLeft()) {
    notice("sent", "again_later");
    return false;
  }
  showShares([await issueAgain(kept, recipient, kept.language)]);
  put(byId("handover-text"), "handover_again");
  to("handover");
  return true;
}

byId("done").addEventListener("click", () => void alone(async () => {
  if (isLeft() && !(await confirmed({ title: "left_title", text: "left_text", yes: "left_yes" }))) return;
  forgetShares();
  to("form");
  status("form", "handed_over");
}));

addEventListener("beforeunload", (event) => {
  if (running || isLeft()) event.preventDefault();
});

// --- around

onSignedOut((isOut) => {
  byId("signed-out").hidden = !isOut;
});
byId("sign-out").addEventListener("click", () => void alone(async () => {
  const text = isLeft() ? "left_text" : running ? "sign_out_running" : "sign_out_text";
  const asked = { title: "sign_out", text, yes: "sign_out" };
  const answer = await confirmed({ ...asked, option: "sign_out_forget" });
  if (!answer) return;
  running?.control.pause();
  let next;
  try {
    next = await signOut();
  } catch {
    return notice(location.hash === "#sent" ? "sent" : stage, "not_signed_out");
  }
  if (answer.option) await keeper.forgetAll();
  tabs.postMessage("");
  leave(next);
}));
tabs.addEventListener("message", ({ data }) => {
  if (keeper && data !== keeper.person) leave(data ? "/" : "/sign-in"); // links and passwords are for the person who sent them
});

/** @param {string} address */
function leave(address) {
  running?.control.pause();
  running = null; // it can go on after the next sign-in
  forgetShares();
  location.replace(address);
}

offerLanguages(() => location.hash);

for (const button of document.querySelectorAll("[data-retry]")) {
  button.addEventListener("click", () => void alone(start));
}
addEventListener("hashchange", () => void (keeper && route()));
await alone(start);
