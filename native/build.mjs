console.log("native: nothing to build yet");
