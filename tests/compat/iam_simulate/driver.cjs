// iam-simulate, which decides a request by policies. It checks policies and condition keys before that.

const { runSimulation } = require("@cloud-copilot/iam-simulate");
const { answerLines } = require("../answering.cjs");

const decide = async (simulation) => {
  const answer = await runSimulation(simulation, {});
  if (answer.resultType !== "single") throw new Error(JSON.stringify(answer.errors ?? answer.resultType));
  const ignored = answer.result.ignoredContextKeys;
  if (ignored.length > 0) throw new Error(`not keys of this action: ${ignored}`);
  return answer.overallResult;
};

answerLines({
  // The decision on each simulation: Allowed, ExplicitlyDenied or ImplicitlyDenied.
  decide: async ({ simulations }) => {
    const decisions = [];
    for (const simulation of simulations) decisions.push(await decide(simulation));
    return decisions;
  },
});
