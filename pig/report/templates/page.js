"use strict";
// The steps of Figure 3: a slider (drag, arrow keys), a drag over the pictures, a click on a step, and play.
// Without this script the last step and the strip of all steps are there.
for (const film of document.querySelectorAll(".film")) {
  const stage = film.querySelector(".stage"), strip = film.querySelector(".strip"), shown = [...stage.querySelectorAll("img")];
  const steps = [...film.querySelectorAll(".strip li")], slider = film.querySelector("input");
  const output = film.querySelector("output"), play = film.querySelector("button");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let timer = 0;

  const show = (step) => {
    const pairs = [...steps[step].querySelectorAll(".pair")].map((pair) => pair.querySelectorAll("img"));
    [0, 1].flatMap((row) => pairs.map((pair) => pair[row])).forEach((image, i) => { shown[i].src = image.src; });
    steps.forEach((item, i) => i === step ? item.setAttribute("aria-current", "step") : item.removeAttribute("aria-current"));
    strip.scrollLeft = steps[step].offsetLeft - steps[0].offsetLeft - (strip.clientWidth - steps[step].offsetWidth) / 2;
    const text = `t = ${steps[step].dataset.t}`;
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step + 1} of ${steps.length}, ${text}`);
    output.value = text;
  };
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  const over = (event) => {
    const box = stage.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    show(Math.max(0, Math.min(steps.length - 1, Math.floor(share * steps.length))));
  };

  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  steps.forEach((item, i) => item.addEventListener("click", () => { stop(); show(i); }));
  stage.addEventListener("pointerdown", (event) => { stop(); stage.setPointerCapture(event.pointerId); over(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons) over(event); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    let step = Number(slider.value) + 1 < steps.length ? Number(slider.value) : -1;
    play.textContent = "Pause";
    timer = setInterval(() => { show(++step); if (step === steps.length - 1) stop(); }, calm ? 1200 : 450);
  });
  film.classList.add("live");
  film.querySelector(".scrub").hidden = false;
  show(steps.length - 1);
}
// What is folded away is printed too.
const folded = () => document.querySelectorAll("details:not([open])");
let opened = [];
addEventListener("beforeprint", () => { opened = [...folded()]; opened.forEach((part) => { part.open = true; }); });
addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
