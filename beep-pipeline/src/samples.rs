//! A dozen spoken clips and what is said in them, for demonstrations, examples and tests.

/// One spoken clip: 16 kHz mono WAV, synthesised speech.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What is said.
    pub text: &'static str,
    /// The WAV file.
    pub wav: &'static [u8],
}

macro_rules! samples {
    ($($file:literal $text:literal,)*) => {
        /// Every clip. The bundled model recognises each exactly.
        pub const SAMPLES: &[Sample] = &[$(
            Sample { text: $text, wav: include_bytes!(concat!("../speech/clips/", $file, ".wav")) }
        ),*];
    };
}

samples! {
    "hello" "hello",
    "send_help" "send help",
    "yes" "yes",
    "no" "no",
    "one_two_three" "one two three",
    "four_five_six_seven" "four five six seven",
    "zero_eight_nine" "zero eight nine",
    "play_five" "play five",
    "stop" "stop",
    "okay" "okay",
    "help" "help",
    "beep_over" "beep over",
}
