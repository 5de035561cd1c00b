// The driver's side of `clients.Driver`, for libraries of JavaScript. It runs in the client's environment.

const readline = require("node:readline");

// Answer calls until standard input ends: one line `[name, arguments]` each, and one line back.
exports.answerLines = async (functions) => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, given] = JSON.parse(line);
    let answer;
    try {
      answer = { result: await functions[name](given) };
    } catch (error) {
      answer = { error: error.name, text: error.message };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
};
