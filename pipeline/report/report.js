(() => {
  "use strict";
  const root = document.documentElement;
  const { config, specs } = JSON.parse(document.getElementById("plots").textContent);
  // The policy of the page forbids requests; a loader that refuses makes the reason plain.
  const refuse = () => Promise.reject(new Error("a report loads nothing"));
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    ast: true, // the policy forbids making code of expressions
    config,
    loader: { load: refuse, sanitize: refuse, http: refuse, file: refuse },
  };
  const width = document.getElementById("main").clientWidth;
  config.axis.labelLimit = Math.max(110, Math.min(320, 0.36 * width)); // names beside a plot may take a good third of it
  config.axisX = { tickCount: width < 500 ? 3 : 6 };
  const draw = (key, spec) =>
    vegaEmbed(document.getElementById(key), spec, options).catch((error) => {
      document.getElementById(key).textContent = "This plot could not be drawn; the table below has its numbers.";
      throw error;
    });
  Promise.allSettled(Object.entries(specs).map(([key, spec]) => draw(key, spec))).then((done) => {
    const failed = done.filter((plot) => plot.status === "rejected");
    failed.forEach((plot) => console.error(plot.reason));
    root.dataset.plots = failed.length ? `failed ${failed.map((plot) => plot.reason).join("; ")}` : "drawn";
  });
})();
