"""What can a contract say, section by section?"""
