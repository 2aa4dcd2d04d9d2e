/*
 * The little script there is. Everything but live updates works without it.
 *
 * It keeps what staff typed, above all: whatever fails while a cancel form is open is said inside
 * the dialog, and the page stays.
 */
(() => {
  "use strict";

  const dialog = document.getElementById("dialog");
  if (!dialog) return;

  const help = document.getElementById("help");
  const panel = document.getElementById("panel");
  const beside = matchMedia("(min-width: 75em)");
  const hovers = matchMedia("(hover: hover)");
  const on = (name, handler) => document.addEventListener(name, handler);
  const words = JSON.parse(document.getElementById("words").textContent);
  /** *text* with each `{}` taken by the next of *values*. */
  const fill = (text, ...values) => text.replaceAll("{}", () => values.shift());
  const counted = ([one, more], count) => fill(count === 1 ? one : more, count);
  const cancelForm = () => document.getElementById("cancel-form");
  const keepingForm = () => cancelForm() ?? document.querySelector("form[data-keeps]");

  // --- requests

  /** The token of the login that is valid now, also if it was made in another tab since. */
  function csrfToken() {
    const name = `${document.querySelector('meta[name="csrf-cookie"]').content}=`;
    const pair = document.cookie.split("; ").find((one) => one.startsWith(name));
    return pair ? decodeURIComponent(pair.slice(name.length)) : "";
  }

  on("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    const token = csrfToken();
    if (ctx.request.method === "POST" && token) {
      ctx.request.headers["X-CSRFToken"] = token;
      ctx.request.body.delete("csrfmiddlewaretoken");
    }
    if (panel && ctx.target === panel && !beside.matches) {
      event.preventDefault();
      location.assign(ctx.sourceElement.href);
    }
  });

  on("htmx:before:response", (event) => {
    const address = event.detail.ctx.hx.redirect;
    const isLogin = address?.startsWith(document.querySelector('meta[name="login"]').content);
    if (!isLogin || !keepingForm()) return;
    event.preventDefault();
    const login = document.createElement("a");
    login.href = new URL(address, location.href).pathname;
    login.target = "_blank";
    login.rel = "noopener";
    login.textContent = words.login;
    const [before, after] = words.session.split("{}");
    complain(before, login, after);
  });

  const DRAWN_AGAIN = new Set([409, 422]);
  const COMPLAINTS = {
    403: words.forbidden,
    404: words.missing,
  };

  const isBackground = (ctx) => ctx.request.headers["X-Background"] === "true";

  on("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail;
    const status = ctx.response.status;
    if (status >= 400 && !DRAWN_AGAIN.has(status)) {
      event.preventDefault();
      if (!isBackground(ctx)) complain(COMPLAINTS[status] ?? words.failed);
    } else if (ctx.sourceElement.id === "list" && wouldMove(tasks[0]?.fragment)) {
      event.preventDefault();
      hold();
    }
  });

  on("htmx:error", (event) => {
    const { ctx } = event.detail;
    if (ctx && !ctx.response && !isBackground(ctx)) complain(words.offline);
  });

  /** Say what went wrong where she looks: in the open dialog, or in one of its own. */
  function complain(...parts) {
    let place = document.getElementById("dialog-alert");
    if (!place) {
      const part = document.createElement("div");
      part.className = "dialog-part";
      place = document.createElement("p");
      place.setAttribute("role", "alert");
      const end = document.createElement("form");
      end.method = "dialog";
      end.className = "cancel-end";
      const close = document.createElement("button");
      close.className = "button";
      close.textContent = words.close;
      end.append(close);
      part.append(place);
      dialog.replaceChildren(part, end);
      if (!dialog.open) dialog.showModal();
    }
    place.className = "note note-bad";
    const text = document.createElement("span");
    text.append(...parts);
    place.replaceChildren(text);
    place.scrollIntoView({ block: "nearest" });
  }

  // --- the list does not move under the mouse

  let isHeld = false;
  let isForced = false;

  function wouldMove(fragment) {
    const list = document.getElementById("list");
    if (!fragment || isForced || dialog.open) return false;
    const isChoosing = chosen.size > 0;
    if (!isChoosing && (!hovers.matches || !list.matches(":hover"))) return false;
    const order = (root) => [...root.querySelectorAll(".row")].map((row) => row.id).join();
    return order(list) !== order(fragment);
  }

  function hold() {
    isHeld = true;
    document.querySelector(".held").hidden = false;
  }

  function release() {
    isHeld = false;
    isForced = true;
    // Nothing comes if the list went back to what it was: then there is nothing to show either.
    document.querySelector(".held").hidden = true;
    document.dispatchEvent(new CustomEvent("desk-changed"));
  }

  on("pointerover", (event) => {
    if (isHeld && !event.target.closest("#list")) release();
  });

  // --- after something new came

  on("htmx:after:swap", (event) => {
    const { ctx } = event.detail;
    if (ctx.target === dialog && !dialog.open) {
      openedFrom = ctx.sourceElement.closest(".row")?.id ?? "";
      dialog.showModal();
    }
    if (ctx.target === panel) openedPanel(ctx);
    if (ctx.sourceElement.id === "list") isForced = false;
    if (ctx.sourceElement.id === "filters" && wantsFirst) toFirst();
    if (ctx.sourceElement === cancelForm() || ctx.target?.id === "cancel") answered(ctx);
    if (ctx.sourceElement.matches("[data-keeps]")) document.querySelector("#main [autofocus], #main .note-bad")?.focus();
    enhance();
  });

  /** Put the focus where the next step is. */
  function answered(ctx) {
    if (isBackground(ctx)) return;
    const wrong = dialog.querySelector('[aria-invalid="true"], fieldset:has(.error) input');
    (wrong ?? (cancelForm() ? null : document.getElementById("dialog-title")))?.focus();
  }

  function enhance() {
    for (const one of document.querySelectorAll("[data-help], [data-print]")) one.hidden = false;
    // Without HTTPS a browser has no clipboard to write to.
    for (const one of document.querySelectorAll("[data-copy]")) one.hidden = !navigator.clipboard;
    markOpenRow();
    fillFromLook();
    nameTheAct();
    showPicks();
    showTicked();
    countDown();
    for (const one of document.querySelectorAll("[data-counter]")) count(one);
  }

  /** The row whose button opened the dialog: the button may be gone when it closes. */
  let openedFrom = "";

  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    if (document.activeElement !== document.body) return;
    (document.getElementById(openedFrom)?.querySelector(".who") ?? document.getElementById("detail-title"))?.focus();
  });

  // The second half of a double click may meet a button that was not there for the first: the one
  // that cancels, in the dialog that the first half opened, or the one that closes the outcome.
  addEventListener(
    "click",
    (event) => {
      if (event.detail < 2 || !event.target.closest("#dialog :is(button, a)")) return;
      event.preventDefault();
      event.stopPropagation();
    },
    { capture: true },
  );

  // --- the cancel dialog

  /** The button names what it does, and the sentence says what will happen. */
  function nameTheAct() {
    const chosen = cancelForm()?.querySelector("[data-act]:checked");
    const button = document.querySelector("#cancel-submit span");
    if (!chosen || !button) return;
    button.textContent = chosen.dataset.act;
    const sentence = document.getElementById("consequence");
    sentence.textContent = chosen.dataset.consequence;
    sentence.classList.remove("consequence-open");
  }

  /** An address that the provider gave only now, and where it is from, unless one is typed already. */
  function fillFromLook() {
    const look = document.querySelector("#look[data-from]");
    const [field, from] = ["id_email", "email-from"].map((id) => document.getElementById(id));
    if (!look || !field || field.value) return;
    field.value = look.dataset.email;
    from.textContent = look.dataset.from;
    from.dataset.of = look.dataset.email;
    from.hidden = false;
  }

  /** Length as it is limited: in UTF-16 units, which is what `length` counts. */
  function count(place) {
    const field = document.getElementById(place.dataset.counter);
    if (!field) return;
    place.hidden = field.value.length === 0;
    place.textContent = fill(words.length, field.value.length, field.maxLength);
  }

  let filled = "";

  function fillReason(choice) {
    const field = document.getElementById(choice.dataset.fills);
    const text = choice.selectedOptions[0].dataset.text;
    if (!text) return;
    const typed = field.value.trim();
    field.value = !typed || typed === filled ? text : `${typed}\n${text}`;
    filled = text;
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  on("change", ({ target }) => {
    if (target.matches("[data-act]")) {
      nameTheAct();
      target.closest("fieldset").querySelector(".error")?.remove();
    }
    if (target.matches("[data-fills]")) fillReason(target);
    if (target.matches(".pick")) pick([target], target.checked);
    if (target.name === "row") showTicked();
  });
  on("input", ({ target }) => {
    const place = target.id && document.querySelector(`[data-counter="${CSS.escape(target.id)}"]`);
    if (place) count(place);
    // Where an address comes from is said of that one, and of no other that is typed instead.
    const from = target.id === "id_email" && document.querySelector("#email-from[data-of]:not([data-of=''])");
    if (from) from.hidden = target.value !== from.dataset.of;
  });

  // --- choosing several

  const picks = () => [...document.querySelectorAll(".pick")];

  /** Keys of all that are chosen, also of those that a filter or another page hides. */
  const chosen = new Set();

  function showPicks() {
    const form = document.getElementById("picking");
    if (!form) return;
    const boxes = new Map(picks().map((one) => [one.value, one]));
    for (const [key, box] of boxes) box.checked = chosen.has(key);
    const hidden = [...chosen].filter((key) => !boxes.has(key));
    for (const one of form.querySelectorAll("[data-kept]")) one.remove();
    for (const key of hidden) {
      const kept = document.createElement("input");
      Object.assign(kept, { type: "hidden", name: "pick", value: key });
      kept.dataset.kept = "";
      form.append(kept);
    }
    const text = counted(words.chosen, chosen.size);
    document.querySelector("[data-pick-count]").textContent = hidden.length
      ? fill(words.elsewhere, text, hidden.length)
      : text;
    document.querySelector(".pick-bar").toggleAttribute("data-chosen", chosen.size > 0);
    for (const one of document.querySelectorAll("[data-pick-day], [data-pick-none]")) one.hidden = false;
  }

  function pick(boxes, isChosen) {
    for (const box of boxes) {
      if (isChosen) chosen.add(box.value);
      else chosen.delete(box.value);
    }
    showPicks();
  }

  /** The review says how many are ticked, and its button too. */
  function showTicked() {
    const form = document.querySelector("[data-batch-review]");
    if (!form) return;
    const count = form.querySelectorAll('[name="row"]:checked').length;
    for (const one of document.querySelectorAll("[data-ticked]")) one.textContent = count;
    for (const one of document.querySelectorAll("[data-ticked-of]")) {
      one.textContent = counted(words.appointments, count);
    }
    for (const one of document.querySelectorAll("[data-told]")) {
      const here = `[name="row"][data-kind="${CSS.escape(one.dataset.told)}"]:checked`;
      one.textContent = form.querySelectorAll(here).length;
    }
  }

  // --- the appointment beside the list

  let openPath = "";

  // What was pressed stays under the mouse, although the list becomes narrower.
  on("htmx:before:swap", ({ detail: { ctx } }) => {
    if (ctx.target === panel) rowTop = ctx.sourceElement.getBoundingClientRect().top;
  });

  let rowTop = 0;

  function openedPanel(ctx) {
    if (ctx.sourceElement.matches(".who")) {
      scrollBy(0, ctx.sourceElement.getBoundingClientRect().top - rowTop);
    }
    // Not from the link: the one to the next appointment went away with the one before.
    openPath = new URL(document.getElementById("detail").getAttribute("hx-get"), location.href).pathname;
    panel.scrollTop = 0;
    const byKeyboard = ctx.sourceEvent?.detail === 0;
    if (byKeyboard) document.getElementById("detail-title").focus();
  }

  function closePanel() {
    panel.replaceChildren();
    openRow()?.focus();
    openPath = "";
    markOpenRow();
  }

  const openRow = () => [...document.querySelectorAll(".who")].find((link) => link.pathname === openPath);

  function markOpenRow() {
    const open = openRow();
    for (const link of document.querySelectorAll(".who")) {
      if (link === open) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  on("click", ({ target }) => {
    if (target.closest("[data-close-panel]")) closePanel();
    if (target.closest("[data-show-held]")) release();
    if (target.closest("[data-pick-none]")) {
      chosen.clear();
      showPicks();
    }
    const day = target.closest("[data-pick-day]");
    if (day) pick(day.closest("section").querySelectorAll(".row:not(.past) .pick"), true);
    if (target.closest("[data-help]")) help.showModal();
    if (target.closest("[data-print]")) print();
    const copy = target.closest("[data-copy]");
    if (copy) copied(copy);
    for (const menu of document.querySelectorAll(".menu[open]")) {
      if (!menu.contains(target)) menu.open = false;
    }
  });

  /** Say it where she looks, and to those who do not see it. */
  async function copied(button) {
    await navigator.clipboard.writeText(button.dataset.copy);
    const announced = document.getElementById("announced");
    const word = button.querySelector("span");
    word.textContent = words.copied;
    const isSecret = "copyQuiet" in button.dataset;
    announced.textContent = isSecret ? words.copied : `${words.copied}: ${button.dataset.copy}`;
    setTimeout(() => {
      word.textContent = "";
      announced.textContent = "";
    }, 1500);
  }

  // --- how long ago each connection was read

  function age(since) {
    const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(since)) / 1000));
    const [size, text] = words.ages.find(([size]) => Math.max(seconds, 1) >= size);
    return fill(text, Math.floor(seconds / size));
  }

  function showAges() {
    for (const one of document.querySelectorAll("[data-read]")) {
      one.textContent = fill(words.read, age(one.dataset.read));
    }
  }

  on("desk-read", ({ detail }) => {
    for (const [pk, readAt] of Object.entries(detail)) {
      const place = document.querySelector(`[data-connection="${CSS.escape(pk)}"] [data-read]`);
      if (place) place.dataset.read = readAt;
    }
    showAges();
  });
  setInterval(showAges, 5000);

  // --- how long it can still be taken back: counted from here, whatever the clock of this machine says

  const ends = new WeakMap();

  function countDown() {
    for (const one of document.querySelectorAll("[data-left]")) {
      if (!ends.has(one)) ends.set(one, performance.now() + one.dataset.left * 1000);
      const left = Math.max(0, Math.ceil((ends.get(one) - performance.now()) / 1000));
      one.textContent = fill(words.ages.at(-1)[1], left);
    }
  }
  setInterval(countDown, 500);

  addEventListener(
    "toggle",
    ({ target }) => target.matches?.(".note-with[open]") && target.querySelector("input:not([type=hidden])").focus(),
    { capture: true },
  );

  // --- keyboard

  function step(by) {
    const names = [...document.querySelectorAll(".who")];
    const at = names.indexOf(document.activeElement);
    const open = names.findIndex((one) => one.hasAttribute("aria-current"));
    const from = at >= 0 ? at : open;
    names[Math.min(names.length - 1, Math.max(0, from + by))]?.focus();
  }

  function cancelHere() {
    const row = document.activeElement?.closest(".row") ?? document.querySelector(".row:has([aria-current])");
    (row ?? panel ?? document).querySelector(".cancel-button")?.click();
  }

  const KEYS = {
    "/": () => document.getElementById("id_q")?.focus(),
    "t": () => document.querySelector("[data-today]")?.click(),
    "j": () => step(1),
    "k": () => step(-1),
    "c": cancelHere,
    "x": () => document.activeElement?.closest(".row")?.querySelector(".pick")?.click(),
    "p": () => document.querySelector("[data-sheet], [data-print]")?.click(),
    "?": () => help.showModal(),
  };

  /** Sideways through the list, where an appointment is open; elsewhere the keys scroll. */
  const BESIDE = { ArrowLeft: "[data-previous]", ArrowRight: "[data-next]" };

  // --- from the search to whoever was found

  let wantsFirst = false;
  const search = () => document.getElementById("id_q");

  /** The nearest of the found ones that is to come and can be cancelled, once they are there. */
  function toFirst() {
    const shown = new URLSearchParams(location.search).get("q") ?? "";
    wantsFirst = shown !== search().value.trim();
    if (wantsFirst) return document.getElementById("filters").requestSubmit();
    const found = [".row:not(.past):has(.cancel-button) .who", ".row:not(.past) .who", ".who"];
    found.map((one) => document.querySelector(one)).find(Boolean)?.focus();
  }

  on("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      // A key that is held would press the button of the next page, which nobody has read yet.
      if (event.repeat) return event.preventDefault();
      const button = event.target.closest("form")?.querySelector("[data-ctrl-enter]");
      if (button) button.form.requestSubmit(button);
      else if (event.target.closest("#cancel-form, [data-keeps]")) event.target.form?.requestSubmit();
      return;
    }
    if (event.key === "Enter" && event.target === search()) {
      event.preventDefault();
      return toFirst();
    }
    if (event.target === search() && !search().value) {
      if (event.key === "Escape") search().blur();
      // The search has the focus from the start, and nobody looks for a question mark.
      if (event.key === "?") {
        event.preventDefault();
        return KEYS["?"]();
      }
    }
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || help.open) return;
    if (event.target.closest("input, textarea, select, .strip")) return;
    if (event.key === "Escape" && openPath) return closePanel();
    const beside = BESIDE[event.key] && document.querySelector(BESIDE[event.key]);
    if (beside && !event.shiftKey) {
      event.preventDefault();
      return beside.click();
    }
    const onRow = document.activeElement?.matches(".who");
    const key = { ArrowDown: onRow && "j", ArrowUp: onRow && "k" }[event.key] || event.key;
    if (!Object.hasOwn(KEYS, key)) return;
    event.preventDefault();
    KEYS[key]();
  });

  // A page brought back from the browser's memory may show what is over.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  // Where somebody with a name in her ear begins; on a telephone it would open the keyboard.
  if (hovers.matches && document.activeElement === document.body) search()?.focus({ preventScroll: true });

  // What a browser kept ticked through a reload.
  for (const one of picks()) if (one.checked) chosen.add(one.value);
  enhance();
})();
